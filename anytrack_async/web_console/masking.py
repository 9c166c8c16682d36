"""The fields of a conversion for the page: a customer's values are masked unless revealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from anytrack_async.backfilling.masking import masked
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.plain import as_json, to_dict

PRIVATE = frozenset(
    (
        *("customer", "click_id", "ip_address", "user_agent", "page_url", "sub_ids"),
        *("custom_data", "meta", "clicks"),
    )
)
"""Fields of a conversion with values that may identify the customer."""


@attrs.frozen
class Field:
    """A field of a conversion.

    Attributes:
        name: its path, e.g. ``customer.email``.
        value: its value as text, masked or not.
        is_private: whether it may identify the customer.
    """

    name: str
    value: str
    is_private: bool


def shown_fields(conversion: Conversion, *, reveal: bool = False) -> Sequence[Field]:
    """Return the fields of *conversion* that are set.

    Args:
        conversion: the conversion.
        reveal: whether to show a customer's values as they are.
    """
    fields = []
    for path, value, is_private in _flat(to_dict(conversion)):
        text = value if isinstance(value, str) else as_json(value)
        fields.append(Field(path, masked(text) if is_private and not reveal else text, is_private))
    return fields


def _flat(record: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    for name, value in record.items():
        is_private = name in PRIVATE
        if isinstance(value, Mapping) and value:
            for key, item in value.items():
                if isinstance(item, list) and len(item) == 1:
                    item = item[0]
                yield f"{name}.{key}", item, is_private
        else:
            yield name, value, is_private


def private_texts(conversion: Conversion) -> frozenset[str]:
    """Return every text in the private fields of *conversion*."""
    record = to_dict(conversion)
    return frozenset(_texts([record[name] for name in PRIVATE & record.keys()]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value.values()])
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def mask_texts(value: Any, texts: frozenset[str]) -> Any:
    """Return *value*, a part of a request body, with each of *texts* masked."""
    if isinstance(value, str):
        return masked(value) if value in texts else value
    if isinstance(value, Mapping):
        return {name: mask_texts(item, texts) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [mask_texts(item, texts) for item in value]
    return value
