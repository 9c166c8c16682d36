"""The storage form: what an outbox keeps of a conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from cattrs.gen import make_dict_unstructure_fn, override

from anytrack_async.codec.converter import CONVERTER, load, make_converter
from anytrack_async.errors import DecodeError
from anytrack_async.models import Conversion

_Record = dict[str, Any]

_VERSION = 1
_UPGRADES: Mapping[int, Callable[[_Record], _Record]] = {}
"""Version → how to turn a record of it into the next one."""

_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _canonical(value: Decimal) -> str:
    """Return the same text for equal numbers: 9.9 and 9.90 are the same price."""
    return str(value.normalize(_EXACT)) if value else "0"


_canonical_converter = make_converter(_canonical)
_to_record = make_dict_unstructure_fn(
    Conversion,
    CONVERTER,
    _cattrs_omit_if_default=True,
    # A file must not depend on how ids are made today, and equal amounts may be written otherwise.
    event_id=override(omit_if_default=False),
    revenue=override(omit_if_default=False),
)


class Encoded(NamedTuple):
    """A conversion as an outbox keeps it.

    Attributes:
        payload: the record, JSON.
        digest: 16 bytes that are equal for equal content. `timestamp` and `id` do not count: a web
            request that is repeated is the same sale a second later.
    """

    payload: bytes
    digest: bytes


def encode(conversion: Conversion) -> Encoded:
    """Return *conversion* in its storage form."""
    record = _to_record(conversion)
    head = {"v": _VERSION, "timestamp": conversion.timestamp.isoformat()}
    if record.pop("id", None) is not None:
        head["id"] = conversion.id
    record.pop("timestamp", None)
    content = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    payload = orjson.dumps({**head, "content": orjson.Fragment(content)})
    return Encoded(payload, _digest(conversion, record, content))


def _digest(conversion: Conversion, record: _Record, content: bytes) -> bytes:
    same = record | {"revenue": _canonical(conversion.revenue)}
    for name in ("items", "meta"):
        if name in record:
            same[name] = _canonical_converter.unstructure(getattr(conversion, name))
    if same != record:
        content = orjson.dumps(same, option=orjson.OPT_SORT_KEYS)
    return blake2b(content, digest_size=16).digest()


def decode(payload: bytes) -> Conversion:
    """Return the conversion that `encode` wrote.

    Raises:
        DecodeError: the record is damaged, or of a later release.
    """
    version, head = _opened(payload)
    if version > _VERSION:
        raise DecodeError(
            f"stored conversion: written in form {version} by a later release; this one reads "
            f"up to {_VERSION}: upgrade"
        )
    for past in range(version, _VERSION):
        head = _UPGRADES[past](head)
    content = head.pop("content", None)
    if not isinstance(content, dict):
        raise DecodeError("stored conversion: damaged, it has no content")
    return load(content | head, Conversion)


def _opened(payload: bytes) -> tuple[int, _Record]:
    try:
        head = orjson.loads(payload)
        version = head.pop("v")
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        head, version = {}, None
    if type(version) is not int or version < min(_UPGRADES, default=_VERSION):
        # No cause: it would hold the record, and with it the customer.
        raise DecodeError("stored conversion: not a record of this library")
    return version, head
