"""Amount, time and line item of a row: the columns of a mapping, compiled for one header."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import cache
from typing import Any, TypeAlias

from anytrack_async.backfilling.advice import Advice
from anytrack_async.backfilling.amounts import amount_parser
from anytrack_async.backfilling.getters import Getter, Row
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.mapping import AmountColumns, FileMapping
from anytrack_async.backfilling.settings import BackfillSettings, to_zone
from anytrack_async.backfilling.times import time_parser
from anytrack_async.errors import ConfigurationError, InvalidConversionError
from anytrack_async.models.conversion import LineItem
from anytrack_async.models.missing import is_missing

ParseAmount: TypeAlias = Callable[[Any], Decimal]
ReadAmount: TypeAlias = Callable[[Row], Decimal | None]
"""Returns a row's amount in major units; None if it has none."""


class RowAmounts:
    """The amounts of a row, compiled for the header of a file.

    Attributes:
        signs: of currencies, beside the amounts that were read last.
        parse: reads the text of an amount.
        read: returns the amount to send; None if the mapping has none.
        refund: returns the refunded amount; None if the mapping has none.
        positions: the columns of all amounts.
    """

    def __init__(
        self, mapping: FileMapping, header: Header, settings: BackfillSettings, advice: Advice
    ) -> None:
        decimal = settings.decimal or mapping.decimal
        self.signs: list[str] = []
        self.parse: ParseAmount = amount_parser(decimal, advice=advice, signs=self.signs)
        self.read = compile_amounts(mapping, header, settings, self.parse)
        refund = mapping.amounts.get("refund")
        self.refund = compile_amount(refund, header, self.parse) if refund else None
        columns = (column for amount in mapping.amounts.values() for column in amount.columns)
        self.positions = [indexes[0] for indexes in header.positions(columns)]


def compile_amounts(
    mapping: FileMapping, header: Header, settings: BackfillSettings, parse: ParseAmount
) -> ReadAmount | None:
    """Return a reader of the amount to send; None if the mapping has no amounts.

    Raises:
        ConfigurationError: the settings choose an amount that the mapping does not have.
    """
    if mapping.record is not None or not mapping.choices:
        return None
    choices = _chosen_amounts(mapping, settings.amount)
    readers = [compile_amount(mapping.amounts[choice], header, parse) for choice in choices]
    if len(readers) == 1:
        return readers[0]

    def first(row: Row) -> Decimal | None:
        amounts = (amount for read in readers if (amount := read(row)) is not None)
        return next(amounts, None)

    return first


def _chosen_amounts(mapping: FileMapping, name: str | None) -> Sequence[str]:
    """Return the choice *name*, or the mapping's choices in their order of preference."""
    if name is not None and name not in mapping.choices:
        raise ConfigurationError(
            f"{mapping.name} has no amount {name!r}; choose one of {', '.join(mapping.choices)}"
        )
    return (name,) if name else mapping.amount or mapping.choices[:1]


def compile_amount(amount: AmountColumns, header: Header, parse: ParseAmount) -> ReadAmount:
    """Return a reader of *amount*, one of the mapping's choices."""
    plus = [indexes[0] for indexes in header.positions(amount.plus)]
    if amount.alternatives:
        plus = plus[:1]
    minus = [indexes[0] for indexes in header.positions(amount.minus)]
    if len(plus) == 1 and not minus:
        return _single_amount(plus[0], parse)
    return _sum_of_amounts(plus, minus, parse)


def _single_amount(index: int, parse: ParseAmount) -> ReadAmount:
    def read(row: Row) -> Decimal | None:
        cell = row[index]
        return None if cell == "" or is_missing(cell) else parse(cell)

    return read


def _sum_of_amounts(plus: Sequence[int], minus: Sequence[int], parse: ParseAmount) -> ReadAmount:
    def read(row: Row) -> Decimal | None:
        added = [parse(row[index]) for index in plus if not is_missing(row[index])]
        if not added:
            return None
        deductions = (parse(row[index]) for index in minus if not is_missing(row[index]))
        return sum(added, Decimal(0)) - sum(map(abs, deductions), Decimal(0))

    return read


def compile_time(
    mapping: FileMapping,
    header: Header,
    settings: BackfillSettings,
    stated: tzinfo | None,
    advice: Advice,
) -> Callable[[Row], datetime]:
    """Return a reader of a row's time; it raises `InvalidConversionError` if there is none.

    Args:
        mapping: may know the zone and the order of day and month.
        header: the file's columns.
        settings: zone, order and default time, as far as the mapping does not know them.
        stated: the zone that the file states.
        advice: names the settings in refusals.

    Raises:
        ConfigurationError: the file has no column for the time, or states another zone than the
            settings.
    """
    day_first = mapping.day_first if settings.day_first is None else settings.day_first
    if settings.day_first is not None and advice.own_mapping and "written" not in mapping.formats:
        raise ConfigurationError(
            f"{advice.state('day_first')} decides nothing, because `formats` of {advice.mapping} "
            'has no "written"'
        )
    zone = _zone(mapping, settings, stated, advice)
    parse = time_parser(mapping.formats, zone, day_first=day_first, advice=advice)
    read = _compile_cell(mapping, header, settings, advice)
    read_zone = _compile_zone(mapping, header)

    def moment(row: Row) -> datetime:
        value = read(row)
        if not value or is_missing(value):
            value = settings.timestamp
        if value is None:
            problem = f"is missing: correct the row, or state {advice.state('timestamp')}"
            raise InvalidConversionError("timestamp", problem)
        return parse(value, read_zone(row) if read_zone else None)

    return moment


def _zone(
    mapping: FileMapping, settings: BackfillSettings, stated: tzinfo | None, advice: Advice
) -> tzinfo | None:
    """Return the zone of times that state none.

    A preset knows its service's zone; a mapping of the user's own gives way to the settings.
    """
    own_zone = to_zone(settings.timezone) if settings.timezone else None
    if stated is not None and own_zone not in (None, stated):
        raise ConfigurationError(
            f"the file states the zone of its times in its first line, and it is another one than "
            f"{advice.name('timezone')}: leave that out"
        )
    preset_zone = to_zone(mapping.timezone) if mapping.timezone else None
    choices = (own_zone, preset_zone) if advice.own_mapping else (preset_zone, own_zone)
    return choices[0] or choices[1] or stated


def _compile_cell(
    mapping: FileMapping, header: Header, settings: BackfillSettings, advice: Advice
) -> Getter:
    """Return a getter of the time as it is written."""
    columns = mapping.columns
    if get := header.getter_of("timestamp"):
        return get
    day, clock = header.getter_of("date"), header.getter_of("time")
    if day is None:
        if settings.timestamp is not None or mapping.record is not None:
            return lambda _: None
        names = " or ".join((*columns.get("timestamp", ()), *columns.get("date", ())))
        raise ConfigurationError(
            f"mapping {mapping.name!r}: the file has no column with the time of a "
            f"conversion{f', such as {names}' if names else ''}: state the time of all rows, "
            f"{advice.state('timestamp')}"
        )
    if clock is None:
        return day
    read_day, read_clock = day, clock
    return lambda row: f"{read_day(row)} {read_clock(row)}".strip()


def _compile_zone(mapping: FileMapping, header: Header) -> Callable[[Row], tzinfo | None] | None:
    get = header.getter_of("zone")
    if get is None:
        return None
    zones = {name.casefold(): to_zone(zone) for name, zone in mapping.zones.items()}

    @cache
    def find(name: str) -> tzinfo:
        if zone := zones.get(name.casefold()):
            return zone
        try:
            return to_zone(name)
        except ConfigurationError:
            raise InvalidConversionError(
                "zone",
                "is not a time zone that has one meaning; replace it by an offset such as +02:00",
            ) from None

    return lambda row: find(str(name).strip()) if (name := get(row)) else None


_MAX_KNOWN_ITEMS = 4096


class ItemReader:
    """Reads the line item in a row.

    Args:
        header: has the columns of the fields ``items.*``.
        parse: reads the text of a price.
    """

    def __init__(self, header: Header, parse: ParseAmount) -> None:
        fields = header.part("items.")
        self._names = [name for name, _ in fields]
        self._getters = [get for _, get in fields]
        self._parse = parse
        self._known: dict[tuple[Any, ...], LineItem | None] = {}

    def read(self, row: Row) -> LineItem | None:
        """Return the line item of *row*; None if it has no id.

        Raises:
            InvalidConversionError: a value of the line item is not valid.
        """
        # A shop has far fewer products than orders.
        cells = tuple([get(row) for get in self._getters])
        try:
            return self._known[cells]
        except (KeyError, TypeError):  # TypeError: a cell of JSON that cannot be a key
            item = self._make(dict(zip(self._names, cells, strict=True)))
        if len(self._known) < _MAX_KNOWN_ITEMS:
            with suppress(TypeError):
                self._known[cells] = item
        return item

    def read_all(self, row: Row, more_rows: Sequence[Row]) -> list[LineItem]:
        """Return the line items of an order with the rows *row* and *more_rows*.

        Empty if the file has no columns for them.

        Raises:
            InvalidConversionError: a value is not valid.
        """
        if not self._getters:
            return []
        items = map(self.read, (row, *more_rows))
        return [item for item in items if item is not None]

    def _make(self, cells: Mapping[str, Any]) -> LineItem | None:
        values = {name: value for name, value in cells.items() if value}
        if not values.get("id"):
            return None
        if "price" in values:
            try:
                values["price"] = self._parse(values["price"])
            except InvalidConversionError as exc:
                raise InvalidConversionError("items.price", exc.problem) from None
        try:
            return LineItem(**values)
        except InvalidConversionError as exc:
            raise InvalidConversionError(f"items.{exc.name}", exc.problem) from None
