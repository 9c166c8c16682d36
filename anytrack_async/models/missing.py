"""Values that mean "not given": the gaps of forms, headers, exports and data frames.

Speed: nearly every text begins with a visible character, which shows without a call that the text
is not blank.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Final, TypeGuard

# Spaces, and invisible characters that come with copied text, exports and databases: control
# characters, soft hyphens, marks of direction and joining, byte order marks, letters without a
# shape, tags.
_RANGES = (
    *((0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160)),
    *((0x1680, 0x1680), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F)),
    *((0x205F, 0x206F), (0x2800, 0x2800), (0x3000, 0x3000), (0x3164, 0x3164), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB), (0xE0001, 0xE0001), (0xE0020, 0xE007F)),
)
BLANK: Final = "".join(chr(code) for first, last in _RANGES for code in range(first, last + 1))
"""Characters that cannot be seen, spaces among them: text of these alone is blank."""

BLANKS: Final = frozenset(BLANK)

_NO_NUMBER = frozenset(("nan", "nat", "<na>", "none", "null"))
NO_IDS: Final = frozenset(
    (
        *("nan", "NaN", "NAN", "NaT", "<NA>", "None"),  # of Python, where a column became text
        *("null", "Null", "NULL", "undefined"),  # of databases and browsers
        *("(null)", "[object Object]"),  # of other programs and of scripts
        *("#N/A", "N/A", "#REF!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!", "#DIV/0!"),  # of sheets
    )
)
"""Texts that programs write for a missing id. Otherwise all orders without an id would become one
order, with the id "nan"."""

# Not written as a union in the call, because `int | float` makes a new object each time.
_MAYBE_NAN = (float, Real, datetime)
_NUMPY_TIMES = ("datetime64", "timedelta64")


def is_blank(value: str) -> bool:
    """Return whether *value* has no character that can be seen."""
    return not value or (value[0] in BLANKS and not value.strip(BLANK))


def is_missing(value: object) -> bool:
    """Return whether *value* means "not given": None, blank text, NaN, or NaT and NA of pandas."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value or (value[0] in BLANKS and not value.strip(BLANK))
    if isinstance(value, Decimal):
        return value.is_nan()  # comparing a signalling NaN would raise
    if not isinstance(value, _MAYBE_NAN) and type(value).__name__ not in _NUMPY_TIMES:
        return type(value).__name__ == "NAType"
    return bool(value != value)


def unwrapped(value: Any) -> Any:
    """Return the value that a lazy object or a proxy stands for; any other value as it is.

    `isinstance` takes such an object for what it stands for, but the methods of that type refuse
    it. Known are those of Django, of Werkzeug, and all with ``__wrapped__``, as of wrapt.
    """
    if type(value) is value.__class__:
        return value
    if (get := getattr(value, "_get_current_object", None)) is not None:
        return get()
    str(value)  # Django's makes its value when it is used
    name = "_wrapped" if "_wrapped" in getattr(value, "__dict__", ()) else "__wrapped__"
    return getattr(value, name, value)


def is_iterable(value: object) -> TypeGuard[Iterable[Any]]:
    """Return whether *value* has items; an array of numpy without dimensions has none."""
    return isinstance(value, Iterable) and getattr(value, "shape", None) != ()


def is_integer(value: object) -> TypeGuard[Integral]:
    """Return whether *value* is an integer of Python or numpy, which counts durations as some."""
    return isinstance(value, Integral) and type(value).__name__ not in _NUMPY_TIMES


def is_missing_number(value: object) -> bool:
    """Return whether *value* is missing, or the text of a missing number: ``"nan"``, ``"<NA>"``.

    A column that was turned into text has these for its gaps.
    """
    return is_missing(value) or (
        isinstance(value, str) and value.strip(BLANK).lower().lstrip("+-") in _NO_NUMBER
    )
