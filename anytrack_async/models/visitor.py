"""Values that a visitor controls: headers, addresses, and the parameters of a link.

Nothing here raises, whatever the value is: a browser, a bot or a proxy must not be able to break a
shop's checkout. Each function returns the value to keep, or None for "not given".

- The text of headers and pages loses control characters and halves of surrogate pairs, and is cut
  if it is too long.
- An id that has such characters, or is too long, is left out: a changed id is the id of another
  click or ad.
- A value that is not text, a number or a UUID is left out, unless its class defines `__str__`, as
  the URL classes of web frameworks do.
- A value that is left out or cut is noted by kind, see `Weakenable`, so that a client can count it.

Each function first tries the check that nearly all values pass, with as few calls as possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import TypeAlias

from anytrack_async.models.identifiers import (
    Identifier,
    id_from_number,
    is_plain,
    is_plain_id,
    names_nothing,
    own_text,
    without_decimal_zero,
)
from anytrack_async.models.missing import BLANK, NO_IDS, is_missing
from anytrack_async.models.notes import note_weakness
from anytrack_async.models.validators import MAX_TEXT, plain_str

Address: TypeAlias = str | IPv4Address | IPv6Address | Sequence[str]
"""An IP address as callers have it: also a header that lists several."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


# Texts


def visitor_text(value: str | None) -> str | None:
    """Return the text of a header, such as a user agent, cut to 4,096 characters."""
    if value is None or (type(value) is str and _is_plain_header(value)):
        return value
    text = cleaned(value)
    if text is None:
        _note_unless_missing(value, "unusable texts")
        return None
    if len(text) > MAX_TEXT:
        note_weakness("over-long texts")
    return text[:MAX_TEXT].rstrip() or None


def _note_unless_missing(value: object, kind: str) -> None:
    if not is_missing(value):
        note_weakness(kind)


# Many visitors have the same browser, and its text is long.
_is_plain_header = lru_cache(maxsize=1024)(is_plain)


def visitor_url(value: str | None) -> str | None:
    """Return a URL; one of more than 4,096 characters ends before a parameter, never inside one.

    With a limit of 20 characters ``https://a.example/?p=1&fbclid=AbC`` becomes
    ``https://a.example/``: half of a click id would be the id of another click.
    """
    if value is None or is_plain(value):
        return value
    text = cleaned(value)
    if text is None:
        _note_unless_missing(value, "unusable URLs")
        return None
    if len(text) <= MAX_TEXT:
        return text or None
    note_weakness("over-long URLs")
    end = max(text.rfind(separator, 0, MAX_TEXT + 1) for separator in "?&#")
    return text[: end if end > 0 else MAX_TEXT].rstrip()


def visitor_name(value: Identifier | None) -> str | None:
    """Return a name in a link, such as its source, without control characters.

    A name of more than 4,096 characters is left out.
    """
    if value is None or is_plain(value):
        return value
    text = cleaned(value)
    if text is None or len(text) > MAX_TEXT:
        _note_unless_missing(value, "unusable names of sources")
        return None
    return text or None


def visitor_id(
    value: Identifier | None, max_length: int = MAX_TEXT, kind: str = "unusable ids in links"
) -> str | None:
    """Return an id in a link or a cookie; one that is too long or not clean is left out.

    So is one that scripts write where there is none, such as ``"undefined"``, and one that a
    spreadsheet has rounded to ``"1.2021E+17"``: they would be the same for many visitors.

    Args:
        value: the id.
        max_length: characters that it may have.
        kind: noted if it is left out.
    """
    if value is None or (
        is_plain_id(value, max_length) and value not in NO_IDS and "+" not in value
    ):
        return value
    text = _as_text(value)
    if text is None:
        _note_unless_missing(value, kind)
        return None
    text = without_decimal_zero(text.strip(BLANK))
    if len(text) > max_length or _UNSAFE.search(text) or names_nothing(text):
        _note_unless_missing(text, kind)
        return None
    return text or None


def to_click_id(value: Identifier | None) -> str | None:
    """Return the field ``click_id`` of a conversion; see `visitor_id`."""
    if value is None or (is_plain_id(value, 1024) and value not in NO_IDS and "+" not in value):
        return value
    return visitor_id(value, 1024, "unusable click ids")


def cleaned(value: object) -> str | None:
    """Return the text of *value* without control characters and blanks around it; or None."""
    text = _as_text(value)
    return None if text is None else _UNSAFE.sub("", text).strip(BLANK)


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else plain_str(value)
    if isinstance(value, bytes | bytearray | memoryview):  # a header as ASGI has it
        return bytes(value).decode(errors="ignore")
    if isinstance(value, Enum):
        return _as_text(value.value)
    if (digits := id_from_number(value)) is not None:
        return digits
    return own_text(value)


# IP addresses

BUILDER_MARKER = r"(?:[\w-]{8}|A[Qgw]|B[AQg])"
"""The marker that Meta's parameter builder leaves behind its values: once one of six languages,
today eight characters. (Meta: Conversions API, parameter builder library.)"""
_MARKERS = re.compile(rf"(?:\.{BUILDER_MARKER})+$", re.ASCII)

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_GROUP = r"[1-9a-f][0-9a-f]{0,3}"
# The addresses that are certainly public; all others are looked at by `ipaddress`, which takes
# twenty times as long. Excluded in IPv4: 0, 10, 127, from 224 on, 100.64/10, 169.254/16, 172.16/12,
# 192.0.0/24, 192.168/16, 198.18/15. Accepted in IPv6: 2000::/4 written in eight groups, or in up to
# six groups with "::", without 2001:0::/20, which has special uses, and 2002::/16, which maps IPv4.
_CERTAINLY_PUBLIC = re.compile(
    rf"(?!(?:0|10|127|22[4-9]|2[3-5][0-9])\.)"
    rf"(?!100\.(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.|169\.254\.|172\.(?:1[6-9]|2[0-9]|3[01])\.)"
    rf"(?!192\.(?:0\.0|168)\.|198\.1[89]\.)"
    rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}"
    r"|2(?!001:[0-9a-f]{0,3}:|001:0|002:)[0-9a-f]{3}"
    rf"(?:(?::[0-9a-f]{{1,4}}){{7}}|(?!(?:[^:]*:){{7}})(?::{_GROUP})*::{_GROUP}(?::{_GROUP})*)"
).fullmatch
_BRACKETED = re.compile(r"\[([^\]]*)\](?::[\w.-]*)?", re.ASCII)  # the port may be a name: "_p1"
# Between addresses; invisible characters come with copied text.
_SEPARATORS = re.compile(f"[{re.escape(BLANK)},;|]+")
_MAX_ADDRESSES = 64  # no visitor is behind more proxies, and each address takes some microseconds
_MAX_ADDRESS_LENGTH = 100
_MAX_HEADER = _MAX_ADDRESSES * _MAX_ADDRESS_LENGTH  # characters that are looked at

# Python counts the addresses of documentation as private. No visitor has one, but tests, examples
# and samples do.
_DOCUMENTATION = tuple(
    map(
        ip_network,
        (
            *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),  # RFC 5737
            *("2001:db8::/32", "3fff::/20"),  # RFC 3849, RFC 9637
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: ends with an IPv4 address


def to_ip_address(value: Address | None) -> str | None:
    """Return the field ``ip_address`` of a conversion; see `public_address`."""
    if value is None or (type(value) is str and _CERTAINLY_PUBLIC(value)):
        return value
    address = public_address(value)
    if address is None:
        texts = [*_candidates(value)]
        if any(map(parsed_address, texts)):
            note_weakness("private IP addresses")
        elif texts or not (isinstance(value, str | Sequence) or is_missing(value)):
            note_weakness("unusable IP addresses")
    return address


def public_address(value: Address | None) -> str | None:
    """Return the first public IP address in *value*, or None.

    ``"10.0.0.7, 203.0.113.5:4711"`` gives ``"203.0.113.5"``; so do ``"[::ffff:203.0.113.5]:443"``,
    ``'for="203.0.113.5:80";proto=https'``, and ``"203.0.113.5.AQICAQMC"`` of Meta's parameter
    builder. Private, shared, loopback, link-local, unspecified, multicast and reserved addresses
    are skipped: they are those of proxies, and of many visitors.

    Args:
        value: an address, with or without a port; the header ``X-Forwarded-For`` or ``Forwarded``,
            of which the first 64 addresses count; a list or tuple of these.
    """
    if type(value) is str and _CERTAINLY_PUBLIC(value):
        return value
    if value is None:
        return None
    return next(filter(None, map(_public_or_none, _candidates(value))), None)


def _candidates(value: object) -> Iterator[str]:
    """Return the first texts in *value* that may be addresses."""
    return islice(filter(None, _all_candidates(value)), _MAX_ADDRESSES)


def _all_candidates(value: object) -> Iterator[str]:
    for part in value if isinstance(value, list | tuple) else (value,):
        for candidate in _SEPARATORS.split((_as_text(part) or "")[:_MAX_HEADER]):
            name, equals, address = candidate.partition("=")
            if not equals:
                yield candidate
            elif name.lower() == "for":  # of the header `Forwarded`; `by` is a proxy's address
                yield address


def _public_or_none(text: str) -> str | None:
    if "." in text and _CERTAINLY_PUBLIC(text):
        return text
    address = parsed_address(text)
    return str(address) if address is not None and _is_public(address) else None


def parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in *text*, of any kind, without its port, marker or interface; or None."""
    if len(text) > _MAX_ADDRESS_LENGTH:
        return None
    text = _MARKERS.sub("", text.strip("\"'()<>/"))  # "/203.0.113.5:4711", as Java writes it
    if match := _BRACKETED.fullmatch(text):
        text = match[1]
    elif text[:1] == "[" or text[-1:] == "]":  # of a list that was written as text
        text = text.strip("[]\"'")
    elif text.count(":") == 1 or text.rfind(":") > text.rfind(".") > 0:  # IPv4 and a port
        text = text.rpartition(":")[0]  # also "::ffff:203.0.113.5:4711"
    try:
        # Without the interface (fe80::1%eth0), or the network (203.0.113.5/32, as databases have).
        return _as_ipv4(ip_address(text.partition("%")[0].partition("/")[0]))
    except ValueError:
        return None


def _as_ipv4(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address contains, if it does; else *address*."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in _DOCUMENTATION):
        return True
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast
