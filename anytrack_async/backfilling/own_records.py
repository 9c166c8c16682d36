"""Rows of files that this library has written, such as rejects and exports.

A row has all fields of a conversion. But a user may have edited the file, left out an amount or a
time zone, or saved it with decimal commas. So amount, currency and time are read with the same
checks as in any other file, and none is chosen silently.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from anytrack_async.backfilling.advice import Advice
from anytrack_async.backfilling.amounts import amount_parser
from anytrack_async.backfilling.getters import Row
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.identity import NEEDS_AMOUNT
from anytrack_async.backfilling.mapping import FileMapping, normalised
from anytrack_async.backfilling.report import REJECT_COLUMNS
from anytrack_async.backfilling.row_values import compile_time
from anytrack_async.backfilling.rules import REFUND_EVENT, REFUND_FOUND, Skip, check_id
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.missing import NO_IDS, is_missing


class RecordMapper:
    """Makes conversions of rows by `FileMapping.record`.

    Args:
        mapping: has the function.
        header: the file's columns.
        settings: zone, decimal sign, currency, and the handling of refunds.
        zone: of times, as the file states it.
        advice: names the settings in refusals.
    """

    def __init__(
        self,
        mapping: FileMapping,
        header: Header,
        settings: BackfillSettings,
        zone: tzinfo | None,
        advice: Advice,
    ) -> None:
        self._make = mapping.record
        self._columns = header.columns
        self._names = {normalised(column): column for column in reversed(header.columns)}
        self._is_dated = "timestamp" in self._names and "ago" not in self._names
        self._settings = settings
        self._advice = advice
        self._parse_amount = amount_parser(
            settings.decimal or mapping.decimal, advice=advice, exact=True
        )
        self._time = compile_time(mapping, header, settings, zone, advice)

    def __call__(self, row: Row) -> Conversion | Skip:
        """Return the conversion of *row*, or why it is left out.

        Raises:
            InvalidConversionError: a field is missing or invalid.
        """
        if self._make is None:
            raise TypeError("the mapping has no function for records")
        record = {
            name: value
            for name, value in zip(self._columns, row, strict=False)
            if value is not None and value != "" and name not in REJECT_COLUMNS
        }
        check_id(self._value(record, "order_id"))
        # A blank time is refused unless the settings state one: it would become the time of today.
        if self._is_dated or not is_missing(self._value(record, "timestamp")):
            record[self._names["timestamp"]] = self._time(row)
        if self._set_amount(record) is REFUND_FOUND:
            return REFUND_FOUND
        return self._make(record)

    def _value(self, record: dict[str, Any], field: str) -> Any:
        return record.get(self._names.get(field, field))

    def _set_amount(self, record: dict[str, Any]) -> Skip | None:
        """Read the amount of *record*, and make it a refund if it is negative."""
        revenue = self._value(record, "revenue")
        if is_missing(revenue):
            kind = str(self._value(record, "conversion_type") or "").strip()
            if kind in NEEDS_AMOUNT:
                raise InvalidConversionError("revenue", "is missing: the row has no amount")
            return None
        amount = self._parse_amount(revenue)
        if amount < 0 and self._settings.refunds != "custom":
            return REFUND_FOUND
        if amount < 0:
            record.pop(self._names.get("event_id", "event_id"), None)
            record[self._names["conversion_type"]] = ConversionType.CUSTOM.value
            record[self._names.get("event_name", "event_name")] = REFUND_EVENT
        record[self._names["revenue"]] = amount.copy_abs()  # which keeps every digit
        self._set_currency(record, needed=bool(amount))
        return None

    def _set_currency(self, record: dict[str, Any], *, needed: bool) -> None:
        currency = self._value(record, "currency")
        is_gap = is_missing(currency) or (type(currency) is str and currency in NO_IDS)
        if not is_gap:
            return
        record.pop(self._names.get("currency", "currency"), None)
        if self._settings.currency is not None:
            record[self._names.get("currency", "currency")] = self._settings.currency
        elif needed:
            advice = self._advice.state("currency")
            problem = f"is missing: state the currency of the file, {advice}"
            raise InvalidConversionError("currency", problem)
