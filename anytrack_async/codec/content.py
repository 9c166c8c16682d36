"""The content of a stored record: what it says of a conversion, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from hashlib import blake2b
from typing import Any, TypeAlias

import attrs
import orjson
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn, override

from anytrack_async.codec.converter import CONVERTER, make_converter
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

Record: TypeAlias = dict[str, Any]

_BLANK = blake2b(digest_size=16)
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def canonical(amount: Decimal) -> str:
    """Return the same text for equal numbers: 9.9 and 9.90 are the same price."""
    return str(amount.normalize(_EXACT)) if amount else "0"


_canonical_converter = make_converter(canonical)


# orjson writes text, types, tuples and mappings itself: nothing to be done for most fields.
_as_it_is = override(unstruct_hook=identity)
_apart = override(omit=True)
_texts: Mapping[str, Any] = dict.fromkeys(attrs.fields_dict(Conversion), _as_it_is) | {
    **dict.fromkeys(("timestamp", "id", "revenue", "items", "customer", "meta"), _apart),
    **dict.fromkeys(("sub_ids", "custom_data"), _apart),
    # A file must not depend on how ids are made today.
    "event_id": override(unstruct_hook=identity, omit_if_default=False),
}
_identifiers: Mapping[str, Any] = dict.fromkeys(attrs.fields_dict(Customer), _as_it_is)
_texts_of = make_dict_unstructure_fn(Conversion, CONVERTER, _cattrs_omit_if_default=True, **_texts)
_identifiers_of = make_dict_unstructure_fn(
    Customer, CONVERTER, _cattrs_omit_if_default=True, **_identifiers
)


def content_of(conversion: Conversion) -> Record:
    """Return what *conversion* says but for `timestamp` and `id`, the same for what equals it."""
    content = _texts_of(conversion)
    content["revenue"] = canonical(conversion.revenue)
    if conversion.sub_ids:
        content["sub_ids"] = conversion.sub_ids
    if conversion.custom_data:
        content["custom_data"] = conversion.custom_data
    if conversion.customer is not None:
        content["customer"] = _identifiers_of(conversion.customer)
    if conversion.items:
        content["items"] = _canonical_converter.unstructure(conversion.items)
    if conversion.meta is not None:
        content["meta"] = _canonical_converter.unstructure(conversion.meta)
    return content


def note_digits(head: Record, conversion: Conversion, content: Record) -> None:
    """Add to *head* what *conversion* writes otherwise than its *content*: 9.90 where that is 9.9.

    What is in the head of a record counts, and it does not count for the digest.
    """
    revenue = str(conversion.revenue)
    if revenue != content["revenue"]:
        head["revenue"] = revenue
    if conversion.items:
        _note(head, "items", CONVERTER.unstructure(conversion.items), content)
    if conversion.meta is not None:
        _note(head, "meta", CONVERTER.unstructure(conversion.meta), content)


def _note(head: Record, name: str, given: object, content: Record) -> None:
    if given != content[name]:
        head[name] = given


def written(content: Record) -> bytes:
    """Return *content* as JSON, the same whatever the order of its keys."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def digest_of(content: bytes) -> bytes:
    """Return 16 bytes that tell *content*, as `written` returned it, from any other."""
    digest = _BLANK.copy()  # sooner made than a new one
    digest.update(content)
    return digest.digest()
