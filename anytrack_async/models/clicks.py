"""Ids in the parameters of a link: click ids of advertising services, and affiliates' sub ids.

An advertising service adds a parameter to the link of an ad, such as ``gclid``, and its script
keeps the id in a cookie of the shop, such as ``_gcl_aw``. The name of the parameter is the key in
`Conversion.clicks`, whichever of the two the id came from.

Sources: Google Ads, "About auto-tagging" (``gclid``, ``gbraid``, ``wbraid``); TikTok, Events API,
"ttclid and ttp"; Microsoft Advertising, "auto-tagging of Click ID"; LinkedIn, Conversions API,
"first-party ads tracking"; Reddit, "click id"; Pinterest, Conversions API, "epik"; Snapchat,
Conversions API, "click id".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any, Final

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.mappings import DICTS, NO_VALUES, is_flag, mapping, nearest_float
from anytrack_async.models.missing import is_blank, is_missing
from anytrack_async.models.notes import note_weakness
from anytrack_async.models.validators import MAX_TEXT, without_surrogates
from anytrack_async.models.visitor import cleaned, visitor_id

CLICK_NAMES: Final = (
    "fbclid",  # Meta
    *("gclid", "gbraid", "wbraid"),  # Google
    *("ttclid", "ttp"),  # TikTok: the click, and the browser
    "msclkid",  # Microsoft
    "li_fat_id",  # LinkedIn
    "rdt_cid",  # Reddit
    "epik",  # Pinterest
    "ScCid",  # Snapchat
)
"""The keys of `Conversion.clicks` that a request can fill."""

MAX_CLICKS: Final = 32
"""Click ids that a conversion may have."""

_MAX_ID = 1024
_UNUSABLE_CLICKS: Final = "unusable click ids"
_BY_LOWER_NAME = {name.lower(): name for name in CLICK_NAMES}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def to_clicks(value: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the field ``clicks`` of a conversion: parameter of a link → click id.

    Known names get their usual letter case: ``GCLID`` becomes ``gclid``. A visitor controls the
    ids, so an unusable one is left out; of more than 32, only the first count.

    Raises:
        InvalidConversionError: it is not a mapping, or has a key that is not text.
    """
    if type(value) in DICTS and not value:
        return NO_VALUES
    clicks: dict[str, str] = {}
    for key, item in mapping("clicks", value).items():
        if not isinstance(key, str):
            raise InvalidConversionError("clicks", "must have text keys only")
        if (click := visitor_id(item, _MAX_ID, _UNUSABLE_CLICKS)) is not None:
            name = _BY_LOWER_NAME.get(key.lower(), key)
            if _NAME.fullmatch(name) and len(clicks) < MAX_CLICKS:
                clicks.setdefault(str.__str__(name), click)  # JSON takes no member of an enum
            else:
                note_weakness(_UNUSABLE_CLICKS)
    return clicks or NO_VALUES


# Cookies. Each function returns the id in a cookie, or None.


def _whole(value: str) -> str | None:
    return value


_GOOGLE = re.compile(r"GCL\.[0-9]+\.([\w-]+)(?:\..*)?", re.ASCII)
_GOOGLE_KEYS = re.compile(r"[0-9]\.[0-9]\.k([\w-]+)(?:\$.*)?", re.ASCII)


def _google(value: str) -> str | None:
    """Return the id in ``GCL.1700000000.<id>``, or in the newer ``2.1.k<id>$i1700000000``."""
    match = _GOOGLE.fullmatch(value) or _GOOGLE_KEYS.fullmatch(value)
    return None if match is None else match[1]


def _microsoft(value: str) -> str | None:
    """Return the id in ``_uet<id>``."""
    return value.removeprefix("_uet")


CLICK_COOKIES: Final[Mapping[str, tuple[str, Callable[[str], str | None]]]] = {
    "_gcl_aw": ("gclid", _google),
    "_gcl_ag": ("gbraid", _google),
    "_gcl_gb": ("wbraid", _google),
    "ttclid": ("ttclid", _whole),
    "_ttp": ("ttp", _whole),
    "_uetmsclkid": ("msclkid", _microsoft),
    "li_fat_id": ("li_fat_id", _whole),
    "_rdt_cid": ("rdt_cid", _whole),
    "_epik": ("epik", _whole),
    "_scclid": ("ScCid", _whole),
}
"""Cookie → the key of its click id, and the function that reads the cookie."""


def clicks_of(parameters: Mapping[str, str], cookies: Mapping[str, str]) -> dict[str, str]:
    """Return the click ids in a request; a parameter, the newer click, beats its cookie.

    Args:
        parameters: the parameters of the link, see `CLICK_NAMES`; unknown ones are ignored.
        cookies: the cookies, see `CLICK_COOKIES`; unknown ones are ignored.
    """
    clicks: dict[str, str] = {}
    for name in CLICK_NAMES:
        if name in parameters and (
            click := visitor_id(parameters[name], _MAX_ID, _UNUSABLE_CLICKS)
        ):
            clicks[name] = click
    for cookie, (name, read) in CLICK_COOKIES.items():
        text = read(cookies[cookie].strip()) if cookie in cookies and name not in clicks else None
        if click := visitor_id(text, _MAX_ID, _UNUSABLE_CLICKS):
            clicks[name] = click
    return clicks


# Sub ids: parameters that an affiliate adds to a link, so that a visitor can change them.

_UNUSABLE_SUB_IDS: Final = "unusable sub ids"
_LONG_SUB_IDS: Final = "over-long sub ids"


def to_sub_ids(value: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the field ``sub_ids`` of a conversion: a copy with text values, without missing ones.

    Numbers become text. A value that is no text or number, or has more than 4,096 characters, is
    left out and noted: half of an id would be another id.

    Raises:
        InvalidConversionError: it is not a mapping, or has a key that is not text.
    """
    if type(value) in DICTS and not value:
        return NO_VALUES
    texts = {}
    for key, item in mapping("sub_ids", value).items():
        if not isinstance(key, str):
            raise InvalidConversionError("sub_ids", "must have text keys only")
        text = item if type(item) is str and item.isprintable() else _text_or_none(item)
        if text is None or is_blank(text):
            continue
        if len(text) > MAX_TEXT:
            note_weakness(_LONG_SUB_IDS)
        else:
            texts[without_surrogates(key)] = text
    return texts or NO_VALUES


def _text_or_none(item: object) -> str | None:
    if is_missing(item):
        return None
    text = _flag_or_float(item) or cleaned(item)
    if text is None:
        note_weakness(_UNUSABLE_SUB_IDS)
    return text


def _flag_or_float(item: Any) -> str | None:
    """Return a truth value or a broken number as text: ``true``, ``0.1``; None for other values."""
    if is_flag(item):
        return str(bool(item)).lower()
    if isinstance(item, Real) and not isinstance(item, Integral):
        number = nearest_float(item)
        return repr(number) if isfinite(number) else None
    return None
