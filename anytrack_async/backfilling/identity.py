"""Event id, summary and time of a row, to recognise repeats without making a `Conversion`.

Speed: when a file is read again, nearly every row was accepted before. Event id, type, amount,
currency and time are enough to recognise the repeat, and take a quarter of the time that the
`Conversion` would take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import attrs

from anytrack_async.backfilling.getters import Getter, Row
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.mapping import FileMapping, normalised
from anytrack_async.backfilling.report import REJECT_COLUMNS
from anytrack_async.backfilling.row_values import ReadAmount
from anytrack_async.backfilling.rules import Skip
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import ConversionType
from anytrack_async.models.identifiers import order_event_id, to_order_id
from anytrack_async.models.missing import NO_IDS
from anytrack_async.models.validators import currency_code

NEEDS_AMOUNT = ("sale",)
"""Types of conversions that a row without an amount cannot have."""

_ENOUGH = frozenset(("conversion_type", "currency", "order_id"))
_OTHERS = frozenset(("event_id", "event_name"))
_TYPES = {kind.value: kind for kind in ConversionType}


class Identity(NamedTuple):
    """The event id of a row's conversion, its `summary`, and its time."""

    event_id: str
    summary: str
    timestamp: datetime


Identify: TypeAlias = Callable[[Row], Identity | None]
"""Returns the identity of a row; None if the whole row has to be mapped to find it."""


@attrs.frozen(kw_only=True)
class RowReaders:
    """Functions of a row that a mapping was compiled into.

    Attributes:
        rules: return why a row is left out.
        texts: fields of the conversion that are texts, and their getters.
        amount: returns the amount to send.
        time: returns the time.
    """

    rules: Sequence[Callable[[Row], Skip | None]]
    texts: Sequence[tuple[str, Getter]]
    amount: ReadAmount | None
    time: Callable[[Row], datetime]


def compile_identity(
    mapping: FileMapping, header: Header, settings: BackfillSettings, read: RowReaders
) -> Identify | None:
    """Return a function from a row to its `Identity`; None if the mapping does not allow one.

    A mapping does not allow it if one of its functions may change a value of the identity, if the
    file has event ids or names of its own, or if rows depend on each other.
    """
    names = {name for name, _ in read.texts} | {*mapping.constants}
    depends_on_others = settings.only_first or settings.duplicates == "fail"
    if depends_on_others or names & _OTHERS or _may_change_identity(mapping):
        return None
    constants = {"conversion_type": ConversionType.SALE, **mapping.constants}
    texts = [(name, get) for name, get in read.texts if name in _ENOUGH]
    return _identifier(header, read, texts, constants, settings.currency or mapping.currency)


def _may_change_identity(mapping: FileMapping) -> bool:
    """Return whether a function of *mapping* may change a value of the identity."""
    finishes = mapping.finish is not None or mapping.prepare is not None
    return mapping.record is not None or (finishes and not mapping.adds_only)


def _identifier(
    header: Header,
    read: RowReaders,
    texts: Sequence[tuple[str, Getter]],
    constants: dict[str, Any],
    default_currency: str | None,
) -> Identify:
    def identify(row: Row) -> Identity | None:
        for check in read.rules:
            if check(row) is not None:
                return None
        fields = constants.copy()
        for name, get in texts:
            if value := get(row):
                fields[name] = value
        try:
            kind = _TYPES[fields["conversion_type"]]
            text = _summary(kind, read.amount and read.amount(row), fields, default_currency)
            if text is None:
                return None
            order_id = to_order_id(fields.get("order_id"))
            if order_id is None:
                event_id = row_event_id(kind, header, row)
            else:
                event_id = order_event_id(kind, None, order_id)
            return Identity(event_id, text, read.time(row))
        except (InvalidConversionError, KeyError, TypeError):
            return None

    return identify


def _summary(
    kind: ConversionType,
    amount: Decimal | None,
    fields: Mapping[str, Any],
    default_currency: str | None,
) -> str | None:
    """Return ``sale 49.90 EUR``; None for a refund, and for a sale without amount or currency."""
    currency = fields.get("currency")
    if currency in NO_IDS:
        return None
    if amount is None:
        if kind in NEEDS_AMOUNT:
            return None
        return f"{kind} 0 {currency_code(currency)}"
    if amount < 0:
        # A refund. Its event id depends on settings and time, so the whole row has to be mapped.
        return None
    if currency is None:
        currency = default_currency
        if currency is None and amount:  # only an amount of 0 needs no currency
            return None
    return f"{kind} {amount!s} {currency_code(currency)}"


def row_event_id(conversion_type: str, header: Header, row: Row) -> str:
    """Return an event id for a row without an order id: the same whenever it is read again.

    The order of the columns does not matter, nor do blank cells: records of JSON have the keys of
    earlier records as blank cells.
    """
    cells = sorted(
        f"{normalised(name)}\x1f{value}"
        for name, value in zip(header.columns, row, strict=False)
        if value is not None and value != "" and name not in REJECT_COLUMNS
    )
    digest = blake2b("\x1e".join(cells).encode(errors="replace"), digest_size=12)
    return f"{conversion_type}:row-{digest.hexdigest()}"
