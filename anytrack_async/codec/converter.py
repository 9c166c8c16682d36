"""The cattrs converter: plain data, as JSON has it, to models and back."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import TypeVar

from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, override

from anytrack_async.errors import AnyTrackError, DecodeError
from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.meta import MetaFields

_MAX_EXPONENT = 300  # a float ends at 1.8e308
_T = TypeVar("_T")

_UNIX_TIME = re.compile(r"[0-9]{9,19}(?:\.[0-9]+)?", re.ASCII).fullmatch  # 20260101 is a date
_MAIL_TIME = re.compile(r"(?:[A-Z][a-z]{2}, ?)?[0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9].*").fullmatch
_FIRST_MILLISECONDS = 1e11
_FIRST_WRONG = 1e20


# Structure hooks. They accept the JSON of various services: numbers as text, text as numbers, times
# with and without a time zone.


def _datetime(value: object, _: object) -> datetime:
    """Return a time in UTC from text or unix time; without a time zone it is UTC."""
    try:
        moment = _moment(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        raise DecodeError("must be an ISO 8601 time or unix seconds") from None


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _unix_moment(value)
    text = str(value).strip()
    if _UNIX_TIME(text):
        return _unix_moment(float(text))
    if _MAIL_TIME(text):  # "Fri, 02 Jan 2026 03:04:05 GMT", of RFC 5322
        return parsedate_to_datetime(text)
    return datetime.fromisoformat(text.removesuffix(" UTC"))


def _unix_moment(seconds: float) -> datetime:
    # 1767225600 and 1767225600000 are the same moment: no conversion is of the year 5138. So are
    # microseconds and nanoseconds.
    if seconds >= _FIRST_WRONG:
        raise OverflowError
    while seconds >= _FIRST_MILLISECONDS:
        seconds /= 1000
    return datetime.fromtimestamp(seconds, UTC)


def _decimal(value: object, _: object) -> Decimal:
    try:
        number = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):  # ValueError: an integer of more than 4,300 digits
        raise DecodeError("must be a number") from None
    # int() of 1E+999999999 would fill the memory.
    if not number.is_finite() or number.adjusted() > _MAX_EXPONENT:
        raise DecodeError("is out of range")
    return number


def _integer(value: object, _: object) -> int:
    number = _decimal(value, None)
    if number != number.to_integral_value():
        raise DecodeError("must be a whole number")
    return int(number)


def _text(value: object, _: object) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise DecodeError("must be text")
    return str(value)


def _make_converter() -> Converter:
    converter = Converter(omit_if_default=True)
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, _datetime)
    converter.register_structure_hook(date, lambda value, _: date.fromisoformat(str(value)[:10]))
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, _decimal)
    converter.register_structure_hook(int, _integer)
    # Without its own hook a bool, a subclass of int, would go to the hook of integers.
    converter.register_structure_hook(bool, lambda value, _: value is True)
    converter.register_structure_hook(float, lambda value, _: float(_decimal(value, None)))
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(ConversionType, lambda value, _: ConversionType(value))
    converter.register_structure_hook_factory(
        lambda cls: isinstance(cls, type) and issubclass(cls, Conversion),
        lambda cls: make_dict_structure_fn(cls, converter, _event_id=override(rename="event_id")),
    )
    # `Conversion` validates its Meta parameters and consent itself: stored ones like a caller's.
    converter.register_structure_hook_func(lambda cls: cls is MetaFields, lambda value, _: value)
    converter.register_structure_hook_func(
        lambda cls: cls in (Consent, Consent | None), lambda value, _: value
    )
    return converter


CONVERTER = _make_converter()


def load(data: object, cls: type[_T]) -> _T:
    """Return *data* as a *cls*.

    Raises:
        DecodeError: *data* does not fit; the message names the path of each invalid field, and
            none of their values.
    """
    try:
        return CONVERTER.structure(data, cls)
    except (BaseValidationError, AnyTrackError, ValueError, TypeError, KeyError) as exc:
        # Without a cause, because its traceback would quote the values.
        raise DecodeError(f"{cls.__name__}: {_describe_all(exc)}") from None


def _describe_all(exc: Exception) -> str:
    if isinstance(exc, BaseValidationError):
        return "; ".join(transform_error(exc, format_exception=_describe))
    return _describe(exc, None)


def _describe(exc: BaseException, _: type | None) -> str:
    # Only our own messages are known to be free of customers' data.
    if isinstance(exc, AnyTrackError):
        return str(exc)
    if isinstance(exc, KeyError):
        return f"field {exc.args[0]!r} is missing"
    if isinstance(exc, AttributeError):  # cattrs calls its `items`
        return "must be an object"
    return f"invalid value ({type(exc).__name__})"
