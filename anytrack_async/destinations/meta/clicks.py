"""Click and browser ids: fbc and fbp.

Both read ``fb.<index>.<milliseconds>.<payload>`` and are never hashed. The payload of an fbc is the
``fbclid`` of the ad's link, that of an fbp a random number. Letter case matters.

Source: Meta: Conversions API, fbp and fbc parameters.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, urlsplit

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_PAYLOAD = re.compile(r"[^.\x00-\x1f\x7f\ud800-\udfff]+")
# Meta's parameter builder adds a marker of its own: two characters once, eight today.
_COOKIE = re.compile(
    rf"fb\.[0-9]{{1,2}}\.[0-9]{{1,16}}\.{_PAYLOAD.pattern}(?:\.(?:[\w-]{{2}}|[\w-]{{8}}))?",
    re.ASCII,
)


def fbc(fbclid: str, seen_at: datetime, *, index: int = 1) -> str:
    """Return the fbc of a click id first seen at *seen_at*.

    Args:
        fbclid: the click id, its letter case as it came.
        seen_at: when the id was first seen; must carry a time zone.
        index: how deep the cookie's domain lies; 1 (``example.com``) is right on a server, 0 is a
            bare host or address, 2 ``www.example.com``.

    Raises:
        ValueError: no usable click id, or a time without zone or before 1970.

    Source: Meta: Conversions API, fbp and fbc parameters.
    """
    if not _PAYLOAD.fullmatch(fbclid) or fbclid.isspace():
        raise ValueError(f"not an fbclid: {fbclid!r}")
    if seen_at.tzinfo is None or seen_at < _EPOCH:
        raise ValueError(f"seen_at needs a time zone and a date from 1970 on, got {seen_at!r}")
    return f"fb.{index}.{(seen_at - _EPOCH) // _MILLISECOND}.{fbclid}"


def as_given(value: object) -> str | None:
    """Return an fbc or fbp someone else made, unchanged, or None if it is malformed.

    The marker that Meta's parameter builder leaves at the end stays.

    Source: Meta: Conversions API, fbp and fbc parameters.
    """
    return value if isinstance(value, str) and _COOKIE.fullmatch(value) else None


def fbclid_of(*urls: str | None) -> str | None:
    """Return the click id in the first of *urls* that has one, or None.

    Give the page's own URL, then its referrer: the order Meta's parameter builder looks in.
    """
    for url in urls:
        if url and "fbclid=" in url and (found := _fbclid(url)):
            return found
    return None


def _fbclid(url: str) -> str | None:
    try:
        found = parse_qs(urlsplit(url).query).get("fbclid", [""])[0]
    except ValueError:  # no URL at all, or more parameters than anyone may parse
        return None
    return found if _PAYLOAD.fullmatch(found) and not found.isspace() else None
