"""Sub ids: parameters that an affiliate adds to a link, so that a visitor can change them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any, Final

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.mappings import is_flag, mapping, nearest_float
from anytrack_async.models.missing import is_blank, is_missing
from anytrack_async.models.validators import MAX_TEXT, without_surrogates
from anytrack_async.models.visitor import cleaned, note_weakness

_UNUSABLE: Final = "unusable sub ids"
_OVER_LONG: Final = "over-long sub ids"


def to_sub_ids(value: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the field ``sub_ids`` of a conversion: a copy with text values, without missing ones.

    Numbers become text. A value that is no text or number, or has more than 4,096 characters, is
    left out and noted: half of an id would be another id.

    Raises:
        InvalidConversionError: it is not a mapping, or has a key that is not text.
    """
    if type(value) is dict and not value:
        return {}
    texts = {}
    for key, item in mapping("sub_ids", value).items():
        if not isinstance(key, str):
            raise InvalidConversionError("sub_ids", "must have text keys only")
        text = item if type(item) is str and item.isprintable() else _text_or_none(item)
        if text is None or is_blank(text):
            continue
        if len(text) > MAX_TEXT:
            note_weakness(_OVER_LONG)
        else:
            texts[without_surrogates(key)] = text
    return texts


def _text_or_none(item: object) -> str | None:
    if is_missing(item):
        return None
    text = _flag_or_float(item) or cleaned(item)
    if text is None:
        note_weakness(_UNUSABLE)
    return text


def _flag_or_float(item: Any) -> str | None:
    """Return a truth value or a broken number as text: ``true``, ``0.1``; None for other values."""
    if is_flag(item):
        return str(bool(item)).lower()
    if isinstance(item, Real) and not isinstance(item, Integral):
        number = nearest_float(item)
        return repr(number) if isfinite(number) else None
    return None
