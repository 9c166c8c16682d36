"""`RowMapper`: a mapping, compiled for the header of one file.

Speed: names of columns become positions once, and each field a function of a row. Then a row takes
little more than its amount, its time, and the constructors of `Conversion` and `Customer`: 20 µs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import tzinfo
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any

from anytrack_async.backfilling.getters import (
    Getter,
    Row,
    add_names,
    all_cells,
    first_cell,
    first_filled,
    inside,
    positions_of,
    stem,
    to_customer,
    translated,
    without_mark,
)
from anytrack_async.backfilling.lifting import lift
from anytrack_async.backfilling.mapping import (
    OPEN_PARTS,
    AmountColumns,
    FileMapping,
    RowRule,
    matching,
    normalised,
)
from anytrack_async.backfilling.settings import BackfillSettings, to_zone
from anytrack_async.backfilling.spreadsheet import REJECT_COLUMNS
from anytrack_async.backfilling.values import amount_parser, time_parser
from anytrack_async.errors import ConfigurationError, InvalidConversionError
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import UNUSABLE
from anytrack_async.models.validators import is_missing

_MAX_KNOWN_ITEMS = 4096

REFUND_EVENT = "Refund"
REFUND = "refund or cancellation"

# A spreadsheet shows 01234 and +49 170 as text if an apostrophe stands before them; exports of
# shops have the apostrophe, too.
_MARKED_AS_TEXT = ("customer.postal_code", "customer.phone")

# Columns with the same name are several values of these fields, as in Meta's customer lists.
_SEVERAL_VALUES = frozenset(f"customer.{name}" for name in UNUSABLE)


class Skip(str):
    """Why a row is left out on purpose."""

    __slots__ = ()


class RowMapper:
    """Makes conversions of rows.

    Args:
        mapping: the table of columns and fields.
        columns: the file's header.
        settings: zone, decimal sign, currency, choice of the amount and so on.
        zone: of times, as the file states it; used if neither mapping nor settings have one.

    Raises:
        ConfigurationError: the mapping needs a column that the file does not have, or has no such
            choice of an amount.
    """

    def __init__(
        self,
        mapping: FileMapping,
        columns: Sequence[str],
        settings: BackfillSettings,
        *,
        zone: tzinfo | None = None,
    ) -> None:
        self._mapping = mapping
        self._columns = tuple(columns)
        self._positions = positions_of(columns)
        self._settings = settings
        decimal = settings.decimal or mapping.decimal
        self._parse_amount = amount_parser(decimal)
        day_first = mapping.day_first if settings.day_first is None else settings.day_first
        self._parse_time = time_parser(mapping.formats, self._zone(zone), day_first=day_first)
        self._currency = settings.currency or mapping.currency
        self._rules = [
            check for rule in mapping.rules if (check := self._compile_rule(rule)) is not None
        ]
        self._constants = self._compile_constants()
        self._texts = self._compile_part("", _TEXT_FIELDS)
        self._customer = self._compile_part("customer.")
        self._name = self._getter(mapping.columns.get("customer.name", ()))
        items = self._compile_part("items.")
        self._item_names = [name for name, _ in items]
        self._item_getters = [get for _, get in items]
        self._known_items: dict[tuple[Any, ...], LineItem | None] = {}
        self._open = self._compile_open()
        self._lifted = self._compile_lift()
        self._time = self._compile_time()
        self._row_zone = self._compile_zone()
        self._amount = self._compile_amounts()
        amounts = (column for amount in mapping.amounts.values() for column in amount.columns)
        self._amount_positions = [indexes[0] for indexes in self._indexes(amounts)]
        refund = mapping.amounts.get("refund")
        self._refund = self._compile_amount(refund) if refund else None
        self._is_rejects = set(self._columns).issuperset(REJECT_COLUMNS)
        self._fold = self._compile_fold()
        self._customer_key = self._compile_customer_key()
        self._is_refunding = settings.refunds == "custom"
        self._negative = Skip(mapping.negative) if mapping.negative else None
        self._finish = mapping.prepare(settings) if mapping.prepare else mapping.finish

    # Reading a row

    @property
    def fold_key(self) -> Getter | None:
        """The order that a row belongs to; None if each row is a conversion of its own."""
        return self._fold

    def continues(self, first: Row, row: Row) -> bool:
        """Return whether *row*, with the same order as *first*, is a further line item of it.

        It is not if it states another amount, or is *first* once more: then it is a repeat. In a
        file of rejected rows, those of an order have the same ``_line``.
        """
        if self._is_rejects:
            return True
        for index in self._amount_positions:
            if (cell := row[index]) and cell != first[index]:
                return False
        return row != first

    def customer_key(self, row: Row) -> str | None:
        """Return what identifies the customer of *row*, for `BackfillSettings.only_first`."""
        return self._customer_key(row) if self._customer_key else None

    def __call__(self, row: Row, others: Sequence[Row] = ()) -> Conversion | Skip:
        """Return the conversion of *row*, or why it is left out.

        Args:
            row: the row's values, in the order of the header.
            others: further rows of the same order.

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
        if self._mapping.record is not None:
            return self._mapping.record(self._as_record(row))
        return self._conversion(row, others, refunded=refunded)

    def _conversion(self, row: Row, others: Sequence[Row], *, refunded: bool) -> Conversion | Skip:
        fields = self._constants.copy()
        for name, get in self._texts:
            if value := get(row):
                fields[name] = value
        amount = self._amount(row) if self._amount else None
        if refunded or (amount is not None and amount < 0):
            if not refunded and self._negative is not None:
                return self._negative
            if not self._is_refunding:
                return REFUND_FOUND
            amount = self._become_refund(fields, row, amount)
        self._add_revenue(fields, amount)
        self._add_time(fields, row)
        self._add_parts(fields, row, others)
        if self._finish is not None:
            self._finish(fields, lambda column: self.cell(row, column))
        if "order_id" not in fields and "event_id" not in fields:
            fields["event_id"] = self._event_id(fields, row)
        return Conversion(**fields)

    def _become_refund(
        self, fields: dict[str, Any], row: Row, amount: Decimal | None
    ) -> Decimal | None:
        """Make *fields* those of the event of a refund, and return the refunded amount."""
        fields["conversion_type"] = ConversionType.CUSTOM
        fields["event_name"] = REFUND_EVENT
        fields.pop("event_id", None)  # that is the sale's
        refunded = self._refund(row) if self._refund else None
        amount = refunded or amount
        return None if amount is None else abs(amount)

    def _add_revenue(self, fields: dict[str, Any], amount: Decimal | None) -> None:
        if amount is None:
            if fields["conversion_type"] in _NEEDS_AMOUNT:
                raise InvalidConversionError("revenue", "is missing: the row has no amount")
            return
        fields["revenue"] = amount
        if "currency" not in fields:
            if self._currency is not None:
                fields["currency"] = self._currency
            elif amount:
                raise InvalidConversionError(
                    "currency", "is missing: state the currency of the file, currency='EUR'"
                )

    def _add_time(self, fields: dict[str, Any], row: Row) -> None:
        value = self._time(row)
        if not value or is_missing(value):
            value = self._settings.timestamp
        if value is None:
            raise InvalidConversionError("timestamp", "is missing: the row has no time")
        own_zone = self._row_zone(row) if self._row_zone else None
        fields["timestamp"] = self._parse_time(value, own_zone)

    def _add_parts(self, fields: dict[str, Any], row: Row, others: Sequence[Row]) -> None:
        customer = {}
        for name, get in self._customer:
            if value := get(row):
                customer[name] = value
        if self._name is not None and (name := self._name(row)):
            add_names(customer, str(name))
        if self._item_getters:
            items = [item for line in (row, *others) if (item := self._item(line)) is not None]
            if items:
                fields["items"] = items
        for part, key, get in self._open:
            if not is_missing(value := get(row)):
                fields.setdefault(part, {})[key] = value
        if self._lifted:
            self._add_lifted(fields, customer, row)
        if customer:
            fields["customer"] = to_customer(customer)

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

    def _item(self, row: Row) -> LineItem | None:
        # A shop has far fewer products than orders.
        cells = tuple([get(row) for get in self._item_getters])
        try:
            return self._known_items[cells]
        except (KeyError, TypeError):  # TypeError: a cell of JSON that cannot be a key
            item = self._make_item(dict(zip(self._item_names, cells, strict=True)))
        if len(self._known_items) < _MAX_KNOWN_ITEMS:
            with suppress(TypeError):
                self._known_items[cells] = item
        return item

    def _make_item(self, cells: Mapping[str, Any]) -> LineItem | None:
        values = {name: value for name, value in cells.items() if value}
        if not values.get("id"):
            return None
        if "price" in values:
            try:
                values["price"] = self._parse_amount(values["price"])
            except InvalidConversionError as exc:
                raise InvalidConversionError("items.price", exc.problem) from None
        try:
            return LineItem(**values)
        except InvalidConversionError as exc:
            raise InvalidConversionError(f"items.{exc.name}", exc.problem) from None

    def _event_id(self, fields: Mapping[str, Any], row: Row) -> str:
        """Return an event id for a row without an order id: the same whenever it is read again.

        The order of the columns does not matter, nor do blank cells: records of JSON have the keys
        of earlier records as blank cells.
        """
        cells = sorted(
            f"{normalised(name)}\x1f{value}"
            for name, value in zip(self._columns, row, strict=False)
            if value is not None and value != "" and name not in REJECT_COLUMNS
        )
        digest = blake2b("\x1e".join(cells).encode(errors="replace"), digest_size=12)
        return f"{fields['conversion_type']}:row-{digest.hexdigest()}"

    def _as_record(self, row: Row) -> dict[str, Any]:
        values = zip(self._columns, row, strict=False)
        return {
            name: value
            for name, value in values
            if value is not None and value != "" and name not in REJECT_COLUMNS
        }

    def cell(self, row: Row, column: str) -> Any:
        """Return the cell of *column*; None if the file does not have the column."""
        positions = self._positions.get(normalised(column))
        return row[positions[0]] if positions else None

    def column_of(self, field: str) -> str:
        """Return the columns that *field*, as an error names it, is read from."""
        for name in (field, f"customer.{field}"):
            if columns := self._present(self._mapping.columns.get(name, ())):
                return columns
        if field == "revenue":
            return self._present(
                column for amount in self._mapping.amounts.values() for column in amount.columns
            )
        if field == "timestamp":
            return self._present(
                column
                for name in ("date", "time", "zone")
                for column in self._mapping.columns.get(name, ())
            )
        return ""

    def _present(self, names: Iterable[str]) -> str:
        present = [name for name in names if normalised(name) in self._positions]
        return ", ".join(dict.fromkeys(present))

    # Compiling

    def _zone(self, stated: tzinfo | None) -> tzinfo | None:
        name = self._mapping.timezone or self._settings.timezone
        return to_zone(name) if name else stated

    def _indexes(self, columns: Iterable[str]) -> list[list[int]]:
        """Return the positions of those of *columns* that the file has."""
        names = map(normalised, columns)
        return [self._positions[name] for name in names if name in self._positions]

    def _getter(
        self, columns: Iterable[str], *, marked: bool = False, several: bool = False
    ) -> Getter | None:
        """Return a getter of the first of *columns* that is filled; None if the file has none.

        With *several*, all filled cells of columns with the same name are its value.
        """
        columns = tuple(columns)
        indexes = self._indexes(columns)
        if not indexes:
            return self._path_getter(columns)
        if not several or all(len(positions) == 1 for positions in indexes):
            get = first_cell([position for positions in indexes for position in positions])
        else:
            get = first_filled([all_cells(positions) for positions in indexes])
        if marked:
            return without_mark(get)
        return get

    def _path_getter(self, columns: Sequence[str]) -> Getter | None:
        """Return a getter for a path into the objects of JSON, such as ``customer.email``."""
        for column in columns:
            root, _, rest = column.partition(".")
            if rest and (positions := self._positions.get(normalised(root))):
                return inside(positions[0], rest.split("."))
        return None

    def _compile_part(
        self, prefix: str, names: Iterable[str] | None = None
    ) -> list[tuple[str, Getter]]:
        part = []
        for field, columns in self._mapping.columns.items():
            if names is not None and field not in names:
                continue
            if not field.startswith(prefix) or field == "customer.name":
                continue
            get = self._getter(
                columns, marked=field in _MARKED_AS_TEXT, several=field in _SEVERAL_VALUES
            )
            if get is not None:
                words = self._mapping.translate.get(field)
                part.append((field.removeprefix(prefix), translated(get, words) if words else get))
        return part

    def _compile_constants(self) -> dict[str, Any]:
        return {"conversion_type": ConversionType.SALE, **self._mapping.constants}

    def _compile_open(self) -> list[tuple[str, str, Getter]]:
        """Return the part, key and getter of each field of the parts with keys of their own."""
        fields = [
            (part, key, get) for part in OPEN_PARTS for key, get in self._compile_part(f"{part}.")
        ]
        for pattern, part in self._mapping.rest.items():
            for column in matching(pattern, self._columns):
                index = self._positions[normalised(column)][0]
                fields.append((part, stem(pattern, column), itemgetter(index)))
        return fields

    def _compile_lift(self) -> list[tuple[str, int]]:
        return [
            (stem(pattern, column), self._positions[normalised(column)][0])
            for pattern in self._mapping.lift
            for column in matching(pattern, self._columns)
        ]

    def _compile_time(self) -> Getter:
        columns = self._mapping.columns
        if get := self._getter(columns.get("timestamp", ())):
            return get
        day, clock = self._getter(columns.get("date", ())), self._getter(columns.get("time", ()))
        if day is None:
            if (moment := self._settings.timestamp) is not None or self._mapping.record is not None:
                return lambda _: moment
            names = " or ".join((*columns.get("timestamp", ()), *columns.get("date", ())))
            raise ConfigurationError(
                f"mapping {self._mapping.name!r}: the file has no column with the time of a "
                f"conversion{f', such as {names}' if names else ''}: state the time of all rows, "
                "timestamp=…"
            )
        if clock is None:
            return day
        read_day, read_clock = day, clock
        return lambda row: f"{read_day(row)} {read_clock(row)}".strip()

    def _compile_zone(self) -> Callable[[Row], tzinfo | None] | None:
        get = self._getter(self._mapping.columns.get("zone", ()))
        if get is None:
            return None
        zones = {name.casefold(): to_zone(zone) for name, zone in self._mapping.zones.items()}

        @cache
        def find(name: str) -> tzinfo:
            if zone := zones.get(name.casefold()):
                return zone
            try:
                return to_zone(name)
            except ConfigurationError:
                raise InvalidConversionError(
                    "zone",
                    "is not a time zone that has one meaning; replace it by an offset "
                    "such as +02:00",
                ) from None

        return lambda row: find(name.strip()) if (name := get(row)) else None

    def _compile_fold(self) -> Getter | None:
        get = self._getter((self._mapping.fold,)) if self._mapping.fold else None
        if get is None or not self._is_rejects:
            return get
        order, line = get, itemgetter(self._columns.index(REJECT_COLUMNS[0]))
        return lambda row: (order(row), line(row)) if order(row) else None

    def _compile_rule(self, rule: RowRule) -> Callable[[Row], Skip | None] | None:
        get = self._getter(rule.columns)
        if get is None or (rule.unless and getattr(self._settings, rule.unless)):
            return None
        keep = rule.keep
        if rule.keep_setting and (chosen := getattr(self._settings, rule.keep_setting)):
            keep = frozenset(word.casefold() for word in chosen)
        column = self._present(rule.columns)
        loosely_kept = {_loose(word) for word in keep} if rule.loose else ()

        @cache
        def judge(word: str) -> Skip | None:
            if word and _loose(word) in loosely_kept:
                return None
            if word in rule.refund:
                return REFUND_FOUND
            if not word and rule.blank:
                return None
            if word in rule.drop or (keep and word not in keep):
                return Skip(rule.reason or f"{column}: {word or 'blank'}")
            return None

        return lambda row: judge(str(value).strip().casefold() if (value := get(row)) else "")

    def _compile_amounts(self) -> Callable[[Row], Decimal | None] | None:
        mapping, chosen = self._mapping, self._settings.amount
        if mapping.record is not None or not mapping.choices:
            return None
        if chosen is not None and chosen not in mapping.choices:
            raise ConfigurationError(
                f"{mapping.name} has no amount {chosen!r}; choose one of "
                f"{', '.join(mapping.choices)}"
            )
        choices = (chosen,) if chosen else mapping.amount or mapping.choices[:1]
        readers = [self._compile_amount(mapping.amounts[choice]) for choice in choices]
        if len(readers) == 1:
            return readers[0]

        def first(row: Row) -> Decimal | None:
            amounts = (amount for read in readers if (amount := read(row)) is not None)
            return next(amounts, None)

        return first

    def _compile_amount(self, amount: AmountColumns) -> Callable[[Row], Decimal | None]:
        parse = self._parse_amount
        plus = [indexes[0] for indexes in self._indexes(amount.plus)]
        if amount.alternatives:
            plus = plus[:1]
        minus = [indexes[0] for indexes in self._indexes(amount.minus)]
        if len(plus) == 1 and not minus:
            (index,) = plus

            def read_one(row: Row) -> Decimal | None:
                cell = row[index]
                return None if cell == "" or is_missing(cell) else parse(cell)

            return read_one

        def read(row: Row) -> Decimal | None:
            added = [parse(row[index]) for index in plus if not is_missing(row[index])]
            if not added:
                return None
            taken = (parse(row[index]) for index in minus if not is_missing(row[index]))
            return sum(added, Decimal(0)) - sum(map(abs, taken), Decimal(0))

        return read

    def _compile_customer_key(self) -> Callable[[Row], str | None] | None:
        columns = self._mapping.columns
        getters = [
            get
            for field in ("customer.external_id", "customer.email")
            if (get := self._getter(columns.get(field, ())))
        ]
        if not getters:
            return None
        get = first_filled(getters)
        return lambda row: str(value).strip().casefold() if (value := get(row)) else None


def _loose(word: str) -> str:
    """Return ``closedwon`` for ``closed won (sales pipeline)``."""
    name = _NOTE_BEHIND.sub("", word) or word
    return "".join(filter(str.isalnum, name))


REFUND_FOUND = Skip(REFUND)
_NOTE_BEHIND = re.compile(r"\s*\([^()]*\)$")
_NEEDS_AMOUNT = ("sale",)
_TEXT_FIELDS = frozenset(
    (
        *("conversion_type", "currency", "order_id", "event_name", "event_id", "id", "click_id"),
        *("source", "campaign_id", "ad_id", "ip_address", "user_agent", "page_url"),
    )
)
