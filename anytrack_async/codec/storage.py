"""The storage form of a conversion: a record that an outbox keeps, and its digest.

A record is JSON::

    {"v": 1, "timestamp": "2026-01-02T03:04:05+00:00", "revenue": "49.90",
     "content": {"conversion_type": "sale", "event_id": "sale:1001", "revenue": "49.9", …}}

`content` is canonical: equal conversions have equal content, byte for byte, and so an equal digest.
The head beside it has the rest: `timestamp` and AnyTrack's `id`, which do not make a conversion a
different one, and amounts with their exact digits where these are not canonical.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from hashlib import blake2b
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import attrs
import orjson
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, override

from anytrack_async.codec.converter import CONVERTER, load, make_converter
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import meta_fields
from anytrack_async.models.visitor import public_address

_T = TypeVar("_T")
_Record: TypeAlias = dict[str, Any]

_VERSION = 1
_UPGRADES: Mapping[int, Callable[[_Record], _Record]] = {}
"""Version → function that turns a record of that version into one of the next."""


class Encoded(NamedTuple):
    """A conversion in its storage form.

    Attributes:
        payload: the record, JSON.
        digest: 16 bytes, equal for equal content. `timestamp` and `id` do not count: a web request
            that is repeated a second later is the same sale.
    """

    payload: bytes
    digest: bytes


def encode(conversion: Conversion) -> Encoded:
    """Return *conversion* in its storage form."""
    content = _content_of(conversion)
    head: _Record = {"v": _VERSION, "timestamp": conversion.timestamp}
    if conversion.id is not None:
        head["id"] = conversion.id
    _add_exact_amounts(head, conversion, content)
    content_json = _to_sorted_json(content)
    # The digest needs the JSON of the content alone, so the record is assembled as text:
    # {"v":1,"timestamp":…} without its last brace, then the content.
    payload = b'%b,"content":%b}' % (orjson.dumps(head)[:-1], content_json)
    return Encoded(payload, _digest(content_json))


def decode(payload: bytes, digest: bytes | None = None) -> Conversion:
    """Return the conversion that `encode` wrote.

    Args:
        payload: the record.
        digest: as `encode` returned it with the record. A digest that matches saves the validation
            of each field, most of the time that decoding takes; the result is the same without it.

    Raises:
        DecodeError: the record is damaged, or a later release wrote it.
    """
    version, head = _parse(payload)
    if version > _VERSION:
        raise DecodeError(
            f"stored conversion: a later release wrote format version {version}; this release "
            f"reads up to version {_VERSION}: upgrade anytrack_async"
        )
    for older in range(version, _VERSION):
        head = _UPGRADES[older](head)
    content = head.pop("content", None)
    if not isinstance(content, dict):
        raise DecodeError("stored conversion: damaged, it has no content")
    # Without these the conversion would get the time of today, or a new event id.
    if "timestamp" not in head or "event_id" not in content:
        raise DecodeError("stored conversion: damaged, it has no timestamp or no event_id")
    conversion = _decode_trusted(content, head, digest) if digest is not None else None
    return conversion or load(content | head, Conversion)


def _parse(payload: bytes) -> tuple[int, _Record]:
    try:
        head = orjson.loads(payload)
        version = head.pop("v")
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        head, version = {}, None
    if type(version) is not int or version < min(_UPGRADES, default=_VERSION):
        # Raised outside the `except` block: a JSON error as context would contain the record.
        raise DecodeError("stored conversion: not a record of this library")
    return version, head


# Content
#
# Amounts are canonical in the content, since 9.9 and 9.90 are the same price: the digest of a
# repeated import must not depend on how a spreadsheet wrote it. The head keeps "9.90", so that a
# conversion is decoded with the digits that it was made with.

_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _canonical(amount: Decimal) -> str:
    return str(amount.normalize(_EXACT)) if amount else "0"


_CANONICAL_CONVERTER = make_converter(_canonical)

# orjson writes text, enumerations, tuples and mappings itself, so that most fields need no
# conversion by cattrs.
_unchanged = override(unstruct_hook=identity)
_omitted = override(omit=True)
_CONVERSION_FIELDS: Mapping[str, Any] = dict.fromkeys(attrs.fields_dict(Conversion), _unchanged) | {
    **dict.fromkeys(("timestamp", "id", "revenue", "items", "customer", "meta"), _omitted),
    **dict.fromkeys(("sub_ids", "custom_data"), _omitted),
    # Written even where it equals the default, as a later release may derive ids in another way.
    "event_id": override(unstruct_hook=identity, omit_if_default=False),
}
_CUSTOMER_FIELDS: Mapping[str, Any] = dict.fromkeys(attrs.fields_dict(Customer), _unchanged)
_unstructure_conversion = make_dict_unstructure_fn(
    Conversion, CONVERTER, _cattrs_omit_if_default=True, **_CONVERSION_FIELDS
)
_unstructure_customer = make_dict_unstructure_fn(
    Customer, CONVERTER, _cattrs_omit_if_default=True, **_CUSTOMER_FIELDS
)


def _content_of(conversion: Conversion) -> _Record:
    content = _unstructure_conversion(conversion)
    content["revenue"] = _canonical(conversion.revenue)
    if conversion.sub_ids:
        content["sub_ids"] = conversion.sub_ids
    if conversion.custom_data:
        content["custom_data"] = conversion.custom_data
    if conversion.customer is not None:
        content["customer"] = _unstructure_customer(conversion.customer)
    if conversion.items:
        content["items"] = _CANONICAL_CONVERTER.unstructure(conversion.items)
    if conversion.meta is not None:
        content["meta"] = _CANONICAL_CONVERTER.unstructure(conversion.meta)
    return content


def _add_exact_amounts(head: _Record, conversion: Conversion, content: _Record) -> None:
    revenue = str(conversion.revenue)
    if revenue != content["revenue"]:
        head["revenue"] = revenue
    if conversion.items:
        _add_if_different(head, "items", CONVERTER.unstructure(conversion.items), content)
    if conversion.meta is not None:
        _add_if_different(head, "meta", CONVERTER.unstructure(conversion.meta), content)


def _add_if_different(head: _Record, name: str, exact: object, content: _Record) -> None:
    if exact != content[name]:
        head[name] = exact


def _to_sorted_json(content: _Record) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


_EMPTY_HASH = blake2b(digest_size=16)


def _digest(content_json: bytes) -> bytes:
    digest = _EMPTY_HASH.copy()  # faster than a new one
    digest.update(content_json)
    return digest.digest()


# Trusted records

_TRUSTED_HEAD = {"timestamp", "revenue", "items", "meta"}
"""Fields that the head of a trusted record may have: not covered by the digest, so validated."""


def _decode_trusted(content: _Record, head: _Record, digest: bytes) -> Conversion | None:
    """Rebuild a conversion without validating it: the digest proves that the record is unchanged.

    Returns:
        None if *digest* does not match *content*, if a field of *head* is damaged, or if *head* has
        a field that is rare (AnyTrack's `id`). The record must be validated then.
    """
    if not head.keys() <= _TRUSTED_HEAD or _digest(_to_sorted_json(content)) != digest:
        return None
    try:
        return _rebuild(content | head, content["revenue"])
    except (DecodeError, ValueError, TypeError, KeyError, ArithmeticError):
        return None


def _rebuild(record: _Record, canonical_revenue: str) -> Conversion:
    record["timestamp"] = timestamp = datetime.fromisoformat(record["timestamp"])
    record["revenue"] = revenue = Decimal(record["revenue"])
    if timestamp.tzinfo is not UTC or _canonical(revenue) != canonical_revenue:
        raise ValueError("the head is not as it was written")
    record["conversion_type"] = ConversionType(record["conversion_type"])
    if "ip_address" in record:  # earlier releases stored private addresses too
        record["ip_address"] = public_address(record["ip_address"])
    record.setdefault("sub_ids", {})
    record.setdefault("custom_data", {})
    if "customer" in record:
        record["customer"] = _rebuild_customer(record["customer"])
    if "items" in record:
        record["items"] = load(record["items"], tuple[LineItem, ...])
    if "meta" in record:
        record["meta"] = meta_fields(record["meta"])
    return _CONVERSION_BUILDER.build(record)


def _rebuild_customer(record: _Record) -> Customer:
    lists = {name: tuple(value) for name, value in record.items() if type(value) is list}
    return _CUSTOMER_BUILDER.build(record | lists)


class _Builder(Generic[_T]):
    """Makes instances of a class without its constructor and validators, as unpickling does."""

    def __init__(self, cls: type[_T]) -> None:
        fields = attrs.fields_dict(cls)  # type: ignore[arg-type]
        self._cls = cls
        self._names = tuple(fields)
        self._defaults = tuple(field.default for field in fields.values())
        # The class is frozen; its slots can be written through their descriptors.
        self._setters = tuple(getattr(cls, name).__set__ for name in fields)

    def build(self, record: _Record) -> _T:
        instance = object.__new__(self._cls)
        values = map(record.get, self._names, self._defaults)
        for set_value, value in zip(self._setters, values, strict=True):
            set_value(instance, value)
        return instance


_CONVERSION_BUILDER, _CUSTOMER_BUILDER = _Builder(Conversion), _Builder(Customer)
