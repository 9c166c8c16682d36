"""Ids as callers have them: text, numbers and UUIDs, also from spreadsheets and data frames."""

from __future__ import annotations

import re
import secrets
import time
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from numbers import Number, Real
from typing import TYPE_CHECKING, TypeAlias, TypeGuard
from uuid import UUID

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.mappings import is_flag
from anytrack_async.models.missing import (
    BLANK,
    BLANKS,
    NO_IDS,
    is_integer,
    is_missing,
    unwrapped,
)
from anytrack_async.models.notes import note_weakness
from anytrack_async.models.validators import MAX_TEXT, text, without_surrogates

if TYPE_CHECKING:
    from anytrack_async.models.conversion import Conversion

Identifier: TypeAlias = str | int | Decimal | UUID
"""An id as callers have it; text once in a model."""

_ID_LIMIT = 10**40  # Python refuses to write integers of more than 4,300 digits; no id has 40
MAYBE_DECIMALS = (".0", "00")  # how "1003.0" and "1003.00" end
_EXACT_FLOAT_LIMIT = 2**53  # a larger float may be another integer than its column had


def is_plain(value: object, max_length: int = MAX_TEXT) -> TypeGuard[str]:
    """Return whether *value* is printable text without whitespace at its ends, and not too long.

    Nearly all values are. Those that are not may still be valid.
    """
    return (
        type(value) is str
        and value != ""
        and value.isprintable()
        and value[0] not in BLANKS
        and value[-1] not in BLANKS
        and len(value) <= max_length
    )


def is_plain_id(value: object, max_length: int = MAX_TEXT) -> TypeGuard[str]:
    """Return whether *value* is plain text, see `is_plain`, and no spreadsheet's "1003.0"."""
    # The conditions of `is_plain` stand here again, because a call for each id would double the
    # time of this check.
    return (
        type(value) is str
        and value != ""
        and value.isprintable()
        and value[0] not in BLANKS
        and value[-1] not in BLANKS
        and len(value) <= max_length
        and (value[-1] != "0" or value[-2:] not in MAYBE_DECIMALS)
    )


def optional_text(field: str, value: Identifier | None) -> str | None:
    """Return *value* as `text`, or None if it is missing; a product may be called 1984.

    Raises:
        InvalidConversionError: it is neither text nor a whole number.
    """
    return None if is_missing(value) else text(field, _number_as_text(field, value))


def cut_text(field: str, value: Identifier | None) -> str | None:
    """Return *value*, such as a product's name, as `optional_text`, but cut to 4,096 characters.

    Names that another program cut may end with half of an emoji, which is left out. An object that
    stands for text, such as a translation, becomes that text.

    Raises:
        InvalidConversionError: it is neither text nor a whole number.
    """
    if not isinstance(value, str | Number):
        value = own_text(value) or value
    if isinstance(value, str):
        value = without_surrogates(value)[:MAX_TEXT]
    return optional_text(field, value)


def id_text(field: str, value: object, max_length: int = 255) -> str:
    """Return *value*, an id: printable text without whitespace at its ends.

    Integers, UUIDs and other whole numbers become text.

    Raises:
        InvalidConversionError: it is anything else.
    """
    if is_plain(value, max_length):
        return value
    value = text(field, _number_as_text(field, value), max_length)
    if value != value.strip(BLANK):
        problem = "must not start or end with whitespace or invisible characters"
        raise InvalidConversionError(field, problem)
    if not value.isprintable():
        problem = "must be printable: no line breaks, tabs, control or invisible characters"
        raise InvalidConversionError(field, problem)
    return value


def optional_id(field: str, value: object, max_length: int = 255) -> str | None:
    """Return `table_id` of *value*, or None if it is missing."""
    if is_plain_id(value, max_length):
        return value
    return None if is_missing(value) else table_id(field, value, max_length)


def table_id(field: str, value: object, max_length: int = 255) -> str:
    """Return `id_text` of *value*, an id that may come from a table: "1003.0" becomes "1003".

    Raises:
        InvalidConversionError: it is not an id.
    """
    if isinstance(value, str):
        value = without_decimal_zero(value.strip(BLANK))
    return id_text(field, value, max_length)


def _number_as_text(field: str, value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, Enum):
        return _number_as_text(field, value.value)
    if (digits := id_from_number(value)) is not None:
        return digits
    if problem := _problem_of_id(value):
        raise InvalidConversionError(field, problem)
    return value  # for `text` to refuse


def _problem_of_id(value: object) -> str | None:
    if is_missing(value):
        return "must not be empty"
    if is_integer(value):
        return None if is_flag(value) else "has too many digits"
    if isinstance(value, float | Decimal):
        return "must be text or a whole number; floats from 2^53 on are not exact"
    if isinstance(value, bytes | bytearray | memoryview):
        return "must be text, got bytes: decode them first, e.g. with value.decode()"
    return None


def id_from_number(value: object) -> str | None:
    """Return an integer, a UUID or a whole number of another type as text; otherwise None.

    A column with gaps has floats for integers: 1003.0 becomes "1003". A float from 2^53 on is not
    exact, and would be the id of something else.
    """
    if isinstance(value, UUID):
        return str(value)
    value = unwrapped(value)
    number = _whole_or_none(value)
    return None if number is None or abs(number) >= _ID_LIMIT else str(number)


# Have a text of their own, but not one that a person or a program would use for them.
_OTHER_TEXTS = (float, timedelta, BaseException, bytes, bytearray, memoryview, Enum)


def own_text(value: object) -> str | None:
    """Return the text of an object that stands for text, or None.

    Such objects are URLs, phone numbers and countries of web frameworks, and translations that are
    made when they are shown. Their class defines `__str__`. Nothing raises.
    """
    if type(value).__str__ is object.__str__ or isinstance(value, _OTHER_TEXTS):
        return None
    try:
        # pandas' missing values are "<NA>" and "NaT"; arrays of numpy have a shape.
        if is_missing(value) or is_flag(value) or hasattr(value, "shape"):
            return None
        return str(value)
    except Exception:  # the class is not ours
        return None


def _whole_or_none(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if is_integer(value):
        return int(value)
    if isinstance(value, Decimal):
        # 1E+999999999 would fill the memory as an integer.
        whole = value.is_finite() and value.adjusted() <= 40 and value == value.to_integral_value()
        return int(value) if whole else None
    return _whole_real_or_none(value) if isinstance(value, Real) else None


def _whole_real_or_none(value: Real) -> int | None:
    try:
        exact = float(value)
    except (OverflowError, TypeError):  # a fraction beyond 1.8e308; a duration of numpy
        return None
    return int(exact) if exact.is_integer() and abs(exact) < _EXACT_FLOAT_LIMIT else None


_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[Ee]\+[0-9]{1,2}", re.ASCII)


def is_rounded(value: str) -> bool:
    """Return whether *value* is a number that a table rounded: many ids are "1.2021E+17".

    Spreadsheets write such numbers, and data frames, with a small "e".
    """
    return "+" in value and _ROUNDED.fullmatch(value.strip(BLANK)) is not None


def names_nothing(value: str) -> bool:
    """Return whether *value* stands where there is no id, or instead of one; see `NO_IDS`."""
    return value in NO_IDS or is_rounded(value)


_DECIMAL_ZERO = re.compile(r"([0-9]+)\.00?", re.ASCII)


def without_decimal_zero(value: str) -> str:
    """Return the digits of "94035.0" or "94035.00", as spreadsheets write 94035; or *value*."""
    if value[-2:] in MAYBE_DECIMALS and (match := _DECIMAL_ZERO.fullmatch(value)):
        return match[1]
    return value


# The ids of a conversion, as attrs converters. attrs takes the type of an argument from a named
# function only, so each field has its own.


def to_order_id(value: Identifier | None) -> str | None:
    """Return the field ``order_id``; see `optional_id` and `names_nothing`."""
    if value is None:
        return None
    if not is_plain_id(value, 200):
        value = optional_id("order_id", value, 200)
    if value in NO_IDS or (value and "+" in value and is_rounded(value)):
        return _without_id("order ids")
    return value


def to_event_id(value: Identifier | None) -> str | None:
    """Return the argument ``event_id``, or None if it is missing; see `id_text` and `NO_IDS`."""
    if value is None:
        return None
    if not is_plain(value, 400):
        value = None if is_missing(value) else id_text("event_id", value, 400)
    return value if value not in NO_IDS else _without_id("event ids")


def _without_id(kind: str) -> str | None:
    note_weakness(f"unusable {kind}")
    return None


def to_event_name(value: Identifier | None) -> str | None:
    """Return the field ``event_name``; see `id_text`."""
    return None if value is None or is_missing(value) else id_text("event_name", value, 50)


def to_anytrack_id(value: Identifier | None) -> str | None:
    """Return the field ``id``; see `optional_id`."""
    return None if value is None else optional_id("id", value, 200)


# Event ids


def new_event_id() -> str:
    """Return a UUIDv7: unique, and sorted by the time it was made (RFC 9562)."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << 80) | secrets.randbits(80)
    number = (number & ~(0xF << 76)) | (0x7 << 76)  # version 7
    number = (number & ~(0x3 << 62)) | (0x2 << 62)  # variant of RFC 9562
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def order_event_id(conversion_type: str, event_name: str | None, order_id: str) -> str:
    """Return the id of an order's event, the same for each import of the order.

    A sale of order 1001 is ``sale:1001``; its event "Plan: Pro" ``custom:Plan%3A Pro:1001``.
    """
    if event_name is None:
        return ":".join((conversion_type, order_id))  # which takes an enumeration's member as it is
    # Escaped: name "a:b" of order "c" and name "a" of order "b:c" must have different ids.
    escaped = event_name.replace("%", "%25").replace(":", "%3A")
    return ":".join((conversion_type, escaped, order_id))


def event_id_of(conversion: Conversion) -> str:
    """Return the event id of *conversion*, given or made from its order; called by its constructor.

    `attrs.evolve` copies the field `_event_id`. That field is None if the id is made from the
    order, so that a copy with another order gets another id: ``sale:1001`` becomes ``sale:1002``.
    Every other id is in the field, and a copy keeps it.
    """
    own_id = conversion._event_id
    if conversion.order_id is None:
        own_id = own_id or new_event_id()
        object.__setattr__(conversion, "_event_id", own_id)
        return own_id
    order_id = order_event_id(
        conversion.conversion_type, conversion.event_name, conversion.order_id
    )
    if own_id and own_id != order_id:
        return own_id
    if own_id is not None:
        object.__setattr__(conversion, "_event_id", None)
    return order_id
