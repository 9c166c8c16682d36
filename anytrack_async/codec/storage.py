"""The storage form of a conversion: a record that an outbox keeps, and its digest.

A record is JSON::

    {"v": 1, "timestamp": "2026-01-02T03:04:05+00:00",
     "content": {"conversion_type": "sale", "event_id": "sale:1001", "revenue": "49.90", …}}

The digest proves that the record is as it was written, so that it need not be validated again.
Fields that are not given are not in it, and keys that this release does not know are ignored when
it is read: a file of a later release of the same format version loses them.

Earlier releases had digests of the content alone, and exact amounts beside it; such a record is
validated when it is read.

An encrypted record has the digest in it, since a digest beside it would confirm a guess of the
content; see `encryption`.

The ids that destinations gave to conversions are packed, up to 32 together: 16 bytes for a UUID.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import attrs
import orjson
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, override

from anytrack_async.codec.converter import CONVERTER, load
from anytrack_async.errors import DecodeError, UnsendableError
from anytrack_async.models.consent import to_consent
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.frozen import mutable_twin
from anytrack_async.models.identifiers import order_event_id
from anytrack_async.models.mappings import join_path
from anytrack_async.models.meta import meta_fields
from anytrack_async.models.notes import set_traceparent

_T = TypeVar("_T")
_Record: TypeAlias = dict[str, Any]

_VERSION = 1
_UPGRADES: Mapping[int, Callable[[_Record], _Record]] = {}
"""Version → function that turns a record of that version into one of the next."""

MAX_CONVERSION_BYTES = 2**20
"""Bytes that the record of a conversion may have. Usual ones have 400 to 2,000. Four of the largest
fit into one request to Meta (`MetaSettings.max_bytes`)."""

_USUAL_BYTES = 2_048
_BYTES_PER_VALUE = 80
"""Bytes that a number, a short text or an empty list takes, with its place in a list or dict."""

_SAMPLES, _SAMPLE_BYTES = 16, 2_048
"""Parts of a large record in which values are counted: in the whole it would take milliseconds."""


SEALED = b"\x01"
"""The first byte of an encrypted record, see `encryption`; JSON begins with a brace."""

UNDECIPHERABLE = b"\x00"
"""Replaces an encrypted record that cannot be decrypted although its key is known."""


class Encoded(NamedTuple):
    """A conversion in its storage form.

    Attributes:
        payload: the record, JSON.
        digest: 16 bytes, the BLAKE2b hash of the payload.
    """

    payload: bytes
    digest: bytes


def encode(conversion: Conversion) -> Encoded:
    """Return *conversion* in its storage form.

    Raises:
        UnsendableError: the record has more than `MAX_CONVERSION_BYTES`.
        TypeError: JSON cannot hold it, because its ``custom_data`` was changed.
    """
    payload = record_of(conversion)
    return Encoded(payload, digest_of(payload))


def record_of(conversion: Conversion) -> bytes:
    """Return the record of *conversion*, without a digest; see `encode`."""
    head: _Record = {"v": _VERSION, "timestamp": conversion.timestamp}
    if conversion.id is not None:
        head["id"] = conversion.id
    # A span has submitted it. `getattr` rather than the property: this runs for each conversion.
    if traceparent := getattr(conversion, "_traceparent", None):
        head["traceparent"] = traceparent
    head["content"] = _content_of(conversion)
    try:
        payload = orjson.dumps(head)
    except TypeError as exc:
        raise TypeError(
            f"conversion {conversion.event_id!r} was not accepted: its custom_data, which was "
            f"changed after it was made, cannot be written as JSON: {exc}"
        ) from None
    if len(payload) > MAX_CONVERSION_BYTES:
        raise too_large_error(conversion, len(payload))
    return payload


def decode(payload: bytes, digest: bytes | None = None) -> Conversion:
    """Return the conversion that `encode` wrote.

    Args:
        payload: the record.
        digest: as `encode` returned it with the record. A digest that matches saves the validation
            of each field, most of the time that decoding takes; the result is the same without it.

    Raises:
        DecodeError: the record is damaged, or a later release wrote it.
    """
    # A damaged file may have a text for a record.
    if digest is not None and type(payload) is bytes and digest_of(payload) == digest:
        trusted = _read_trusted(payload)
        if trusted is not None:
            return trusted
    version, head = _parse(payload)
    if version > _VERSION:
        raise DecodeError(
            f"stored conversion: a later release wrote format version {version}; this release "
            f"reads up to version {_VERSION}: upgrade anytrack_async"
        )
    for older in range(version, _VERSION):
        head = _UPGRADES[older](head)
    content, traceparent = head.pop("content", None), head.pop("traceparent", None)
    if not isinstance(content, dict):
        raise DecodeError("stored conversion: damaged, it has no content")
    # Without these the conversion would get the time of today, or a new event id.
    if "timestamp" not in head or "event_id" not in content:
        raise DecodeError("stored conversion: damaged, it has no timestamp or no event_id")
    conversion = load(content | head, Conversion)
    if type(traceparent) is str:
        set_traceparent(conversion, traceparent)
    return conversion


def _parse(payload: bytes) -> tuple[int, _Record]:
    if payload[:1] == SEALED:
        raise DecodeError("stored conversion: encrypted")
    try:
        head = orjson.loads(payload)
        version = head.pop("v")
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        head, version = {}, None
    if type(version) is not int or version < min(_UPGRADES, default=_VERSION):
        # Raised outside the `except` block: a JSON error as context would contain the record.
        raise DecodeError(f"stored conversion: {_not_a_record(payload)}")
    return version, head


def _not_a_record(payload: bytes) -> str:
    if payload == UNDECIPHERABLE:
        return "damaged or changed after it was encrypted, it cannot be decrypted"
    return "not a record of this library"


# Size


def memory_bytes(payload: bytes) -> int:
    """Return about how many bytes of memory a conversion with the record *payload* takes.

    Text takes as much as in the record, other values much more: the list ``[1,2,3]`` has 7 bytes,
    and takes about 7 + 80 x 3. Text with commas but no spaces behind them counts as more than it
    takes. An encrypted record counts as text: decrypt it first.
    """
    size = len(payload)
    if size <= _USUAL_BYTES or payload[:1] == SEALED:
        return size
    sample = payload
    if size > _SAMPLES * _SAMPLE_BYTES:
        starts = range(0, size, size // _SAMPLES)
        sample = b"".join(payload[start : start + _SAMPLE_BYTES] for start in starts)
    # Every value but the first of a list or object follows a comma. The commas of a sentence are
    # followed by a space, and those of a record never are.
    values = sample.count(b",") - sample.count(b", ") + sample.count(b"[") + sample.count(b"{")
    return size + _BYTES_PER_VALUE * values * size // len(sample)


def too_large_error(conversion: Conversion, size: int) -> UnsendableError:
    """Return the error for a conversion whose record would have about *size* bytes."""
    sizes = {name: len(str(value)) for name in _OPEN_FIELDS if (value := getattr(conversion, name))}
    for key, value in conversion.custom_data.items():
        sizes[join_path("custom_data", key)] = len(key) + len(str(value))
    if conversion.customer is not None:
        for name in attrs.fields_dict(Customer):
            sizes[f"customer.{name}"] = len(str(getattr(conversion.customer, name)))
    return UnsendableError(
        max(sizes, key=sizes.__getitem__, default="conversion"),
        f"is too large: it makes conversion {conversion.event_id!r}, which was not accepted, take "
        f"about {size:,} bytes, of which {MAX_CONVERSION_BYTES:,} are allowed; shorten it, or "
        "keep its content elsewhere and submit an id or a URL of it",
    )


_OPEN_FIELDS = ("sub_ids", "items", "meta")  # and the ones whose parts are named

# Content

# orjson writes text, enumerations, tuples and mappings itself, so that most fields need no
# conversion by cattrs.
_unchanged = override(unstruct_hook=identity)
_omitted = override(omit=True)
_CONVERSION_FIELDS: Mapping[str, Any] = dict.fromkeys(attrs.fields_dict(Conversion), _unchanged) | {
    **dict.fromkeys(("timestamp", "id", "items", "customer", "meta", "_event_id"), _omitted),
    **dict.fromkeys(("sub_ids", "custom_data", "clicks", "consent"), _omitted),
    # Written even where it equals the default: 0.00 is equal to 0, and has other digits.
    "revenue": override(unstruct_hook=str, omit_if_default=False),
    # Written even where it equals the default, as a later release may derive ids in another way.
    "event_id": override(unstruct_hook=identity, omit_if_default=False, omit=False),
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
    if conversion.sub_ids:
        content["sub_ids"] = conversion.sub_ids
    if conversion.custom_data:
        content["custom_data"] = conversion.custom_data
    if conversion.customer is not None:
        content["customer"] = _unstructure_customer(conversion.customer)
    if conversion.items:
        content["items"] = CONVERTER.unstructure(conversion.items)
    if conversion.meta is not None:
        content["meta"] = CONVERTER.unstructure(conversion.meta)
    if conversion.clicks:
        content["clicks"] = conversion.clicks
    if conversion.consent is not None:
        content["consent"] = conversion.consent.as_dict()
    return content


_EMPTY_HASH = blake2b(digest_size=16)


def digest_of(payload: bytes) -> bytes:
    """Return the digest of a record; see `encode`."""
    digest = _EMPTY_HASH.copy()  # faster than a new one
    digest.update(payload)
    return digest.digest()


# Trusted records

_TYPES = {str(member): member for member in ConversionType}  # four times as fast as the class


def _read_trusted(payload: bytes) -> Conversion | None:
    """Make a conversion of a record that is as it was written, without validating its fields.

    This runs for each conversion that is delivered, so it makes as few calls and objects as it can.

    Returns:
        None if the record is of another version, or if a field does not fit, because the release
        that wrote it allowed more.
    """
    try:
        head = orjson.loads(payload)
        if type(head["v"]) is not int or head["v"] != _VERSION:
            return None
        content = head["content"]
        values = _CONVERSION_BUILDER.values_of(content)
        values["timestamp"] = datetime.fromisoformat(head["timestamp"])
        values["id"] = head.get("id")
        values["revenue"] = Decimal(content["revenue"])
        values["conversion_type"] = kind = _TYPES[content["conversion_type"]]
        order_id, event_id = values["order_id"], content["event_id"]
        if order_id is None or event_id != order_event_id(kind, values["event_name"], order_id):
            values["_event_id"] = event_id
        if "custom_data" not in content:
            values["custom_data"] = {}
        if "customer" in content:
            values["customer"] = _rebuild_customer(content["customer"])
        if not content.keys().isdisjoint(_RARE):
            _rebuild_rare(content, values)
    except (DecodeError, ValueError, TypeError, KeyError):
        return None
    conversion = _CONVERSION_BUILDER.build(values)
    if type(traceparent := head.get("traceparent")) is str:
        set_traceparent(conversion, traceparent)
    return conversion


_RARE = frozenset({"items", "meta", "consent"})


def _rebuild_rare(content: _Record, values: _Record) -> None:
    if "items" in content:
        values["items"] = load(content["items"], tuple[LineItem, ...])
    if "meta" in content:
        values["meta"] = meta_fields(content["meta"])
    if "consent" in content:
        values["consent"] = to_consent(content["consent"])


def _rebuild_customer(record: _Record) -> Customer:
    for name, value in record.items():
        if type(value) is list:
            record[name] = tuple(value)
    return _CUSTOMER_BUILDER.build(_CUSTOMER_BUILDER.values_of(record))


class _Builder(Generic[_T]):
    """Makes instances of a class without its constructor and validators, as unpickling does.

    Each field gets its value by an assignment, in the mutable twin of the class; calls of the
    setters of the slots would take three times as long.
    """

    def __init__(self, cls: type[_T]) -> None:
        fields = attrs.fields_dict(cls)  # type: ignore[arg-type]
        self._cls, self._twin = cls, mutable_twin(cls)
        self._defaults = {name: field.default for name, field in fields.items()}
        # A constructor that does nothing but assign: its arguments are the fields, in order.
        plain = {name: attrs.field(alias=f"field{index}") for index, name in enumerate(fields)}
        model: Any = attrs.make_class("Plain", plain)
        self._assign: Callable[..., None] = model.__init__

    def values_of(self, record: _Record) -> _Record:
        """Return the value of each field, in their order: that in *record*, or the default."""
        values = self._defaults | record
        if len(values) > len(self._defaults):  # a later release wrote more
            values = {name: values[name] for name in self._defaults}
        return values

    def build(self, values: _Record) -> _T:
        """Return an instance with these values, one for each field, in their order."""
        instance = object.__new__(self._twin)
        self._assign(instance, *values.values())
        instance.__class__ = self._cls
        return instance


_CONVERSION_BUILDER, _CUSTOMER_BUILDER = _Builder(Conversion), _Builder(Customer)
