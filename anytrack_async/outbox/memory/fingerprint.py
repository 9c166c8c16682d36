"""A cheap mark of a conversion's content, good within one process."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import attrs
import orjson

from anytrack_async.models.conversion import Conversion

_NOT_CONTENT = {"event_id", "id", "timestamp", "meta"}
_MAPPINGS = {"sub_ids", "custom_data"}
_plain = attrgetter(
    *(
        field.name
        for field in attrs.fields(Conversion)
        if field.name not in _NOT_CONTENT | _MAPPINGS
    )
)


def fingerprint(conversion: Conversion) -> int:
    """Return a number that is equal for equal content.

    `event_id` is the key to it; `timestamp` and `id` do not count: a web request that is repeated
    is the same sale a second later. Another process gives other numbers.
    """
    if conversion.meta is not None:  # rare, and has mappings deep inside that no hash covers
        from anytrack_async.codec.storage import encode

        return hash(encode(conversion).digest)
    sub_ids, custom_data = conversion.sub_ids, conversion.custom_data
    if not sub_ids and not custom_data:
        return hash(_plain(conversion))
    return hash((_plain(conversion), _frozen(sub_ids), _frozen(custom_data)))


def _frozen(mapping: Mapping[str, Any]) -> bytes:
    return orjson.dumps(mapping, option=orjson.OPT_SORT_KEYS) if mapping else b""
