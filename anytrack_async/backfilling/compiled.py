"""`RowMapper`: a mapping, compiled for the header of one file.

Speed: names of columns become positions once, and each field a function of a row. Then a row takes
little more than its amount, its time, and the constructors of `Conversion` and `Customer`: 20 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from operator import itemgetter
from typing import Any

from anytrack_async.backfilling.advice import IN_PYTHON, Advice
from anytrack_async.backfilling.getters import (
    Getter,
    Row,
    add_names,
    first_filled,
    stem,
    to_customer,
)
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.identity import (
    NEEDS_AMOUNT,
    Identify,
    RowReaders,
    compile_identity,
    row_event_id,
)
from anytrack_async.backfilling.lifting import lift
from anytrack_async.backfilling.mapping import OPEN_PARTS, FileMapping, matching, normalised
from anytrack_async.backfilling.own_records import RecordMapper
from anytrack_async.backfilling.report import REJECT_COLUMNS
from anytrack_async.backfilling.row_values import ItemReader, RowAmounts, compile_time
from anytrack_async.backfilling.rules import (
    REFUND_EVENT,
    REFUND_FOUND,
    Skip,
    check_id,
    compile_rules,
    compile_uniqueness,
    stated_currency,
)
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.identifiers import order_event_id, to_event_id, to_order_id
from anytrack_async.models.missing import NO_IDS, is_missing


class RowMapper:
    """Makes conversions of rows.

    Args:
        mapping: the table of columns and fields.
        columns: the file's header.
        settings: zone, decimal sign, currency, choice of the amount and so on.
        zone: of times, as the file states it; used if the mapping has none.
        advice: names the settings in refusals.

    Raises:
        ConfigurationError: the mapping needs a column that the file does not have, or has no such
            choice of an amount, or the settings state another zone than the file.

    Attributes:
        identify: returns a row's `Identity` without mapping the whole row; None if the mapping does
            not allow that.
    """

    def __init__(
        self,
        mapping: FileMapping,
        columns: Sequence[str],
        settings: BackfillSettings,
        *,
        zone: tzinfo | None = None,
        advice: Advice = IN_PYTHON,
    ) -> None:
        self._mapping = mapping
        self._settings = settings
        self._header = header = Header(mapping, columns)
        self._advice = advice
        amounts = RowAmounts(mapping, header, settings, advice)
        self._signs, self._amount, self._refund = amounts.signs, amounts.read, amounts.refund
        self._amount_positions = amounts.positions
        self._check_uniqueness = compile_uniqueness(mapping, header)
        self._record = (
            RecordMapper(mapping, header, settings, zone, advice) if mapping.record else None
        )
        self._currency = settings.currency or mapping.currency
        self._rules = compile_rules(mapping, header, settings)
        self._constants = {"conversion_type": ConversionType.SALE, **mapping.constants}
        self._texts = header.part("", _TEXT_FIELDS)
        self._customer = header.part("customer.")
        self._name = header.getter_of("customer.name")
        self._items = ItemReader(header, amounts.parse)
        self._open, self._lifted = self._compile_open(), self._compile_lift()
        self._time = compile_time(mapping, header, settings, zone, advice)
        self._is_rejects = set(header.columns).issuperset(REJECT_COLUMNS)
        self._fold, self._customer_key = self._compile_fold(), self._compile_customer_key()
        self._is_refunding = settings.refunds == "custom"
        self._negative = Skip(mapping.negative) if mapping.negative else None
        self._finish = mapping.prepare(settings) if mapping.prepare else mapping.finish
        readers = RowReaders(
            rules=self._rules, texts=self._texts, amount=self._amount, time=self._time
        )
        self.identify: Identify | None = None
        if self._check_uniqueness is None:
            self.identify = compile_identity(mapping, header, settings, readers)

    # Reading a row

    @property
    def fold_key(self) -> Getter | None:
        """Returns the id of the order that a row belongs to; None if each row is one conversion."""
        return self._fold

    def continues(self, first: Row, row: Row) -> bool:
        """Return whether *row* is a further line item of the order in *first*.

        Both rows have the same order id. If *row* states another amount, or equals *first*, it is
        a repeat of the order, not a line item. In a file of rejected rows, the rows of an order
        have the same ``_line``.
        """
        if self._is_rejects:
            return True
        for index in self._amount_positions:
            if (cell := row[index]) and cell != first[index]:
                return False
        return row != first

    def customer_key(self, row: Row) -> str | None:
        """Return customer id or e-mail address of *row*, for `BackfillSettings.only_first`."""
        return self._customer_key(row) if self._customer_key else None

    def __call__(self, row: Row, more_rows: Sequence[Row] = ()) -> Conversion | Skip:
        """Return the conversion of *row*, or why it is left out.

        Args:
            row: the row's values, in the order of the header.
            more_rows: further rows of the same order.

        Raises:
            InvalidConversionError: a field is missing or invalid.
        """
        refunded = False
        for check in self._rules:
            if (verdict := check(row)) is not None:
                if verdict is not REFUND_FOUND:
                    return verdict
                refunded = True
                break
        if refunded and not self._is_refunding:
            return REFUND_FOUND
        if self._check_uniqueness is not None:
            self._check_uniqueness(row)
        if self._record is not None:
            return self._record(row)
        return self._conversion(row, more_rows, refunded=refunded)

    def _conversion(
        self, row: Row, more_rows: Sequence[Row], *, refunded: bool
    ) -> Conversion | Skip:
        fields = self._read_texts(row)
        if self._signs:
            self._signs.clear()
        amount = self._amount(row) if self._amount else None
        refunded_amount: Decimal | None = None
        if refunded or (amount is not None and amount < 0):
            if (skip := self._skip_of_refund(refunded)) is not None:
                return skip
            refunded_amount, amount = amount, self._become_refund(fields, row, amount)
        self._add_revenue(fields, amount)
        fields["timestamp"] = self._time(row)
        self._add_parts(fields, row, more_rows)
        if self._finish is not None:
            self._finish(fields, lambda column: self._header.cell(row, column))
        if refunded_amount is not None:
            self._tell_refunds_apart(fields, refunded_amount)
        if not _has_id(fields):
            fields["event_id"] = row_event_id(fields["conversion_type"], self._header, row)
        return Conversion(**fields)

    def _read_texts(self, row: Row) -> dict[str, Any]:
        fields: dict[str, Any] = self._constants.copy()
        for name, get in self._texts:
            if value := get(row):
                fields[name] = value
        order_id = fields.get("order_id")
        if type(order_id) is str and "E+" in order_id:
            check_id(order_id)
        currency = fields.get("currency")
        if type(currency) is str and currency in NO_IDS:  # "nan", of a column as text
            del fields["currency"]
        return fields

    def _skip_of_refund(self, refunded: bool) -> Skip | None:
        """Return why a refund is left out; None if it becomes an event.

        Args:
            refunded: whether a rule found the refund, not the sign of the amount.
        """
        if not refunded and self._negative is not None:
            return self._negative
        return None if self._is_refunding else REFUND_FOUND

    def _become_refund(
        self, fields: dict[str, Any], row: Row, amount: Decimal | None
    ) -> Decimal | None:
        """Turn *fields* into the event of a refund, and return the refunded amount."""
        fields["conversion_type"] = ConversionType.CUSTOM
        fields["event_name"] = REFUND_EVENT
        fields.pop("event_id", None)  # that is the sale's
        refunded = self._refund(row) if self._refund else None
        amount = refunded or amount
        return None if amount is None else amount.copy_abs()

    def _add_revenue(self, fields: dict[str, Any], amount: Decimal | None) -> None:
        if amount is None:
            if fields["conversion_type"] in NEEDS_AMOUNT:
                raise InvalidConversionError("revenue", "is missing: the row has no amount")
            return
        fields["revenue"] = amount
        if "currency" not in fields and self._currency is not None:
            fields["currency"] = self._currency
        if self._signs and (code := stated_currency(self._signs, fields.get("currency"))):
            fields["currency"] = code
        if "currency" not in fields and amount:
            advice = self._advice.state("currency")
            problem = f"is missing: state the currency of the file, {advice}"
            raise InvalidConversionError("currency", problem)

    def _add_parts(self, fields: dict[str, Any], row: Row, more_rows: Sequence[Row]) -> None:
        customer = {}
        for name, get in self._customer:
            if value := get(row):
                customer[name] = value
        if self._name is not None and (name := self._name(row)):
            add_names(customer, str(name))
        if items := self._items.read_all(row, more_rows):
            fields["items"] = items
        for part, key, get in self._open:
            if not is_missing(value := get(row)):
                fields.setdefault(part, {})[key] = value
        if self._lifted:
            self._add_lifted(fields, customer, row)
        if customer:
            fields["customer"] = to_customer(customer)

    def _tell_refunds_apart(self, fields: dict[str, Any], amount: Decimal) -> None:
        """Give a refund that is a row with a negative *amount* an id of its own.

        An order may be refunded in parts: ``custom:Refund:1001:20260501T100000Z-12.5`` and others.
        """
        order_id = to_order_id(fields.get("order_id"))
        if not order_id or amount >= 0 or self._negative is not None:
            return
        refund_id = order_event_id(fields["conversion_type"], fields["event_name"], order_id)
        moment = f"{fields['timestamp']:%Y%m%dT%H%M%SZ}"
        fields["event_id"] = f"{refund_id}:{moment}{amount.normalize():f}"

    def _add_lifted(self, fields: dict[str, Any], customer: dict[str, Any], row: Row) -> None:
        cells = [(name, cell) for name, index in self._lifted if (cell := row[index])]
        for field, value in (lift(cells) if cells else {}).items():
            part, _, name = field.partition(".")
            if not name:
                fields.setdefault(part, value)
            elif part == "customer":
                customer.setdefault(name, value)
            else:
                fields.setdefault(part, {}).setdefault(name, value)

    def columns_of(self, field: str) -> str:
        """Return the columns that *field*, as an error names it, is read from."""
        return self._header.columns_of(field)

    # Compiling

    def _compile_open(self) -> list[tuple[str, str, Getter]]:
        """Return the part, key and getter of each field of the parts with keys of their own."""
        fields = [
            (part, key, get) for part in OPEN_PARTS for key, get in self._header.part(f"{part}.")
        ]
        private = {
            normalised(column)
            for field, columns in self._mapping.columns.items()
            if field.startswith("customer.")
            for column in columns
        }
        for pattern, part in self._mapping.rest.items():
            for column in matching(pattern, self._header.columns):
                if normalised(column) in private:
                    continue
                index = self._header.position(column)
                fields.append((part, stem(pattern, column), itemgetter(index)))
        return fields

    def _compile_lift(self) -> list[tuple[str, int]]:
        return [
            (stem(pattern, column), self._header.position(column))
            for pattern in self._mapping.lift
            for column in matching(pattern, self._header.columns)
        ]

    def _compile_fold(self) -> Getter | None:
        get = self._header.getter((self._mapping.fold,)) if self._mapping.fold else None
        if get is None or not self._is_rejects:
            return get
        order, line = get, itemgetter(self._header.columns.index(REJECT_COLUMNS[0]))
        return lambda row: (order(row), line(row)) if order(row) else None

    def _compile_customer_key(self) -> Callable[[Row], str | None] | None:
        fields = ("customer.external_id", "customer.email")
        getters = [get for field in fields if (get := self._header.getter_of(field))]
        if not getters:
            return None
        get = first_filled(getters)
        return lambda row: str(value).strip().casefold() if (value := get(row)) else None


def _has_id(fields: Mapping[str, Any]) -> bool:
    return bool(to_order_id(fields.get("order_id")) or to_event_id(fields.get("event_id")))


_TEXT_FIELDS = frozenset(
    (
        *("conversion_type", "currency", "order_id", "event_name", "event_id", "id", "click_id"),
        *("source", "campaign_id", "ad_id", "ip_address", "user_agent", "page_url"),
    )
)
