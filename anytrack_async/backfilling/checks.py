"""Checks for contradictory or damaged money, times and ids, before a conversion is made.

A row that states a value twice, or a rounded id, is rejected with the reason; no value is chosen
silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from anytrack_async.backfilling.amounts import currencies_of
from anytrack_async.backfilling.getters import Row
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.errors import InvalidConversionError

_DECISIVE = ("order_id", "event_id", "timestamp", "date", "time", "zone", "currency")
_ROUNDED_ID = re.compile(r"\d(?:[.,]\d+)?E\+\d{1,2}")


def compile_uniqueness(mapping: FileMapping, header: Header) -> Callable[[Row], None] | None:
    """Return a check of columns that a file has several times; None if it has none of these.

    Only amount, time, currency and ids are checked: columns of a customer are several values.

    Returns:
        A function that raises `InvalidConversionError` if their cells differ.
    """
    repeated = _repeated_columns(mapping, header)

    def check(row: Row) -> None:
        for field, positions in repeated:
            if len({row[position] for position in positions} - {"", None}) > 1:
                raise InvalidConversionError(
                    field,
                    f"is in {len(positions)} columns of the same name, whose cells differ: rename "
                    "those that do not count",
                )

    return check if repeated else None


def _repeated_columns(mapping: FileMapping, header: Header) -> list[tuple[str, Sequence[int]]]:
    """Return field and positions of each column name that the file has several times."""
    columns = {field: mapping.columns.get(field, ()) for field in _DECISIVE}
    amounts = [column for amount in mapping.amounts.values() for column in amount.columns]
    return [
        (field, positions)
        for field, names in {**columns, "revenue": amounts}.items()
        for positions in header.positions(names)
        if len(positions) > 1
    ]


def check_id(order_id: object) -> None:
    """Refuse an id that a spreadsheet has rounded: many orders have the id ``5.12346E+12``.

    Raises:
        InvalidConversionError: it is such an id.
    """
    if isinstance(order_id, str) and "E+" in order_id and _ROUNDED_ID.fullmatch(order_id.strip()):
        raise InvalidConversionError(
            "order_id",
            "was rounded by a spreadsheet, so that it is that of many orders: take the file as it "
            "was exported, or format the column as text",
        )


def stated_currency(signs: Sequence[str], currency: object) -> str | None:
    """Return the currency that *signs* beside an amount state, if they mean only one.

    Args:
        signs: such as ``€`` or ``USD``.
        currency: that of the row, if it is known.

    Raises:
        InvalidConversionError: they contradict the row's currency, or each other.
    """
    possible = frozenset.intersection(*map(currencies_of, signs))
    if currency:
        possible &= {str(currency).strip().upper()}
    if not possible:
        raise InvalidConversionError(
            "currency",
            "is another one than the sign beside the amount says: correct one of them",
        )
    return next(iter(possible)) if len(possible) == 1 else None
