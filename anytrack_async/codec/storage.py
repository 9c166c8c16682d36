"""The storage form: what an outbox keeps of a conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson

from anytrack_async.codec.content import Record, content_of, digest_of, note_digits, written
from anytrack_async.codec.converter import load
from anytrack_async.codec.trusted import proven
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion

_VERSION = 1
_UPGRADES: Mapping[int, Callable[[Record], Record]] = {}
"""Version → how to turn a record of it into the next one."""


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
    record = content_of(conversion)
    head: Record = {"v": _VERSION, "timestamp": conversion.timestamp}
    if conversion.id is not None:
        head["id"] = conversion.id
    note_digits(head, conversion, record)
    content = written(record)
    payload = b'%b,"content":%b}' % (orjson.dumps(head)[:-1], content)
    return Encoded(payload, digest_of(content))


def decode(payload: bytes, digest: bytes | None = None) -> Conversion:
    """Return the conversion that `encode` wrote.

    Args:
        payload: the record.
        digest: what `encode` returned with it. It can prove that the record is unchanged, and so
            save a look at each field; where it does not, nothing is different without it.

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
    if "timestamp" not in head or "event_id" not in content:  # or it would be new, and of today
        raise DecodeError("stored conversion: damaged, it has no time or no event id")
    known = proven(content, head, digest) if digest is not None else None
    return known or load(content | head, Conversion)


def _opened(payload: bytes) -> tuple[int, Record]:
    try:
        head = orjson.loads(payload)
        version = head.pop("v")
    except (orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
        head, version = {}, None
    if type(version) is not int or version < min(_UPGRADES, default=_VERSION):
        # No cause: it would hold the record, and with it the customer.
        raise DecodeError("stored conversion: not a record of this library")
    return version, head
