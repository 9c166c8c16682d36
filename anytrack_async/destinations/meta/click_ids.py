"""Meta's click and browser ids, of a customer, a click or a page.

Source: Meta: Conversions API, fbp and fbc parameters.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.missing import NO_IDS, is_blank
from anytrack_async.models.visitor import BUILDER_MARKER

Weaknesses: TypeAlias = list[tuple[dict[str, Any], str]]
"""Pairs of a conversion's `user_data` and the kind of a value that it lacks or that is weak."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_PAYLOAD = re.compile(r"[^.\x00-\x1f\x7f\ud800-\udfff]+")
# Meta's parameter builder adds a marker of its own: two characters once, eight today.
_COOKIE = re.compile(
    rf"fb\.[0-9]{{1,2}}\.[0-9]{{1,16}}\.({_PAYLOAD.pattern})(?:\.(?:[\w-]{{2}}|[\w-]{{8}}))?",
    re.ASCII,
)
_MARKER = re.compile(rf"\.{BUILDER_MARKER}$", re.ASCII)

# Both read fb.<index>.<milliseconds>.<payload> and are never hashed. The payload of an fbc is the
# fbclid of the ad's link, that of an fbp a random number. Letter case matters.


def add_clicks(
    user: dict[str, Any],
    customer: Customer,
    conversion: Conversion,
    seen_at: datetime,
    weaknesses: Weaknesses,
) -> None:
    """Add ``fbp`` and ``fbc`` to *user*; note unusable values in *weaknesses*.

    Args:
        user: the `user_data` of the event.
        customer: the customer of *conversion*.
        conversion: has the page's URL, and the click id there is the latest.
        seen_at: when the click was seen, for an ``fbc`` that is made from a click id.
        weaknesses: gets a pair if something is given and cannot be used.
    """
    if customer.fbp is not None and (browser := valid_cookie(customer.fbp)):
        user["fbp"] = browser
    if click := _click(customer, conversion, seen_at):
        user["fbc"] = click
    click_id = customer.fbc or customer.fbclid or conversion.clicks.get("fbclid")
    lacks_click = click is None and click_id
    if lacks_click or (customer.fbp is not None and "fbp" not in user):
        weaknesses.append((user, "unusable fbc, fbp or fbclid"))


def _click(customer: Customer, conversion: Conversion, seen_at: datetime) -> str | None:
    clicked = _fbclid_of_page(conversion)  # the latest click: it led to this page
    if customer.fbc is not None and (click := _fbc_of_click(customer.fbc, clicked)):
        return click
    fbclid = clicked or customer.fbclid or conversion.clicks.get("fbclid")
    return None if fbclid is None else _fbc_or_none(fbclid, seen_at)


def _fbc_of_click(cookie: str, clicked: str | None) -> str | None:
    """Return the fbc *cookie*; None if it is malformed, or of an older click than *clicked*.

    The browser keeps ``fb.1.1700000000123.OLD`` until a script sees ``?fbclid=NEW``.
    """
    match = _COOKIE.fullmatch(cookie)
    return cookie if match and clicked in (None, match[1]) else None


def _fbclid_of_page(conversion: Conversion) -> str | None:
    meta = conversion.meta
    return fbclid_of(conversion.page_url, None if meta is None else meta.get("referrer_url"))


def _fbc_or_none(fbclid: str, seen_at: datetime) -> str | None:
    try:
        return fbc(_MARKER.sub("", fbclid), seen_at)
    except ValueError:  # not a click id
        return None


def fbc(fbclid: str, seen_at: datetime, *, index: int = 1) -> str:
    """Return the fbc of a click id first seen at *seen_at*.

    ``fbc("AbC", …)`` is ``"fb.1.1554763741205.AbC"`` at 2019-04-08 22:49:01.205 UTC.

    Args:
        fbclid: the click id, in its own letter case.
        seen_at: when the id was first seen; must carry a time zone.
        index: how deep the cookie's domain lies; 1 (``example.com``) is right on a server, 0 is a
            bare host or address, 2 ``www.example.com``.

    Raises:
        InvalidArgumentError: no usable click id, or a time without zone or before 1970.

    Source: Meta: Conversions API, fbp and fbc parameters.
    """
    arguments: Any = fbclid, seen_at
    if not all(map(isinstance, arguments, (str, datetime))):
        raise InvalidArgumentError("fbclid and seen_at", "must be text and a datetime")
    if not _PAYLOAD.fullmatch(fbclid) or fbclid.isspace():
        raise InvalidArgumentError("fbclid", "is not a click id")
    if seen_at.tzinfo is None or seen_at < _EPOCH:
        raise InvalidArgumentError("seen_at", "needs a time zone and a date from 1970 on")
    return f"fb.{index}.{(seen_at - _EPOCH) // _MILLISECOND}.{fbclid}"


def valid_cookie(value: object) -> str | None:
    """Return an fbc or fbp cookie unchanged, or None if it is malformed.

    The marker that Meta's parameter builder leaves at the end stays.

    Source: Meta: Conversions API, fbp and fbc parameters.
    """
    return value if isinstance(value, str) and _COOKIE.fullmatch(value) else None


def fbclid_of(*urls: str | None) -> str | None:
    """Return the click id in the first of *urls* that has one, or None.

    Give the page's own URL, then its referrer: the order Meta's parameter builder looks in.
    """
    for url in urls:
        if url and "fbclid=" in url and (fbclid := _fbclid_of_url(url)):
            return fbclid
    return None


def _fbclid_of_url(url: str) -> str | None:
    try:
        fbclid = parse_qs(urlsplit(url).query).get("fbclid", [""])[0]
        fbclid = _MARKER.sub("", fbclid)  # a URL of the parameter builder ends with one
    except ValueError:  # not a URL, or more parameters than the parser allows
        return None
    usable = _PAYLOAD.fullmatch(fbclid) and not is_blank(fbclid) and fbclid not in NO_IDS
    return fbclid if usable else None
