"""Reading a stored record that is known to be as it was written: `proven`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Generic, TypeVar

import attrs

from anytrack_async.codec.content import Record, canonical, digest_of, written
from anytrack_async.codec.converter import load
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import meta_fields

_T = TypeVar("_T")

_CHECKED = {"timestamp", "revenue", "items", "meta"}
"""What may stand beside the content: each of these is looked at."""


def proven(content: Record, head: Record, digest: bytes) -> Conversion | None:
    """Return the conversion that a record is of, without a look at each of its fields.

    What was written was valid, so it is enough to know that nothing was changed since.

    Args:
        content: of the record.
        head: what the record has beside it.
        digest: of the content, made when it was written.

    Returns:
        None if *digest* does not prove the content, or *head* has something damaged or rare, as
        AnyTrack's id is.
    """
    if not head.keys() <= _CHECKED or digest_of(written(content)) != digest:
        return None
    try:
        return _conversion(content | head, content["revenue"])
    except (DecodeError, ValueError, TypeError, KeyError, ArithmeticError):
        return None


def _conversion(record: Record, worth: str) -> Conversion:
    record["timestamp"] = at = datetime.fromisoformat(record["timestamp"])
    record["revenue"] = revenue = Decimal(record["revenue"])
    if at.tzinfo is not UTC or canonical(revenue) != worth:
        raise ValueError("not as it was written")
    record["conversion_type"] = ConversionType(record["conversion_type"])
    record.setdefault("sub_ids", {})
    record.setdefault("custom_data", {})
    if "customer" in record:
        record["customer"] = _customer(record["customer"])
    if "items" in record:
        record["items"] = load(record["items"], tuple[LineItem, ...])
    if "meta" in record:
        record["meta"] = meta_fields(record["meta"])
    return _CONVERSION.filled(record)


def _customer(record: Record) -> Customer:
    several = {name: tuple(one) for name, one in record.items() if type(one) is list}
    return _CUSTOMER.filled(record | several)


class _Blank(Generic[_T]):
    """Makes objects of a class without a look at their values, as unpickling does."""

    def __init__(self, cls: type[_T]) -> None:
        fields = attrs.fields_dict(cls)  # type: ignore[arg-type]
        self._cls = cls
        self._names = tuple(fields)
        self._defaults = tuple(field.default for field in fields.values())
        self._put = tuple(getattr(cls, name).__set__ for name in fields)

    def filled(self, record: Record) -> _T:
        made = object.__new__(self._cls)
        values = map(record.get, self._names, self._defaults)
        for put, value in zip(self._put, values, strict=True):
            put(made, value)
        return made


_CONVERSION, _CUSTOMER = _Blank(Conversion), _Blank(Customer)
