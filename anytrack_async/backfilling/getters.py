"""Functions from a row to the value of a field, from which a mapping is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from anytrack_async.backfilling.mapping import normalised
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.customer import Customer

Row: TypeAlias = Sequence[Any]
Getter: TypeAlias = Callable[[Row], Any]
"""Returns a field's value in a row; None or blank if there is none."""


def positions_of(columns: Sequence[str]) -> dict[str, list[int]]:
    """Return the name of each column, normalised, → its positions; names may repeat."""
    positions: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        positions.setdefault(normalised(column), []).append(index)
    return positions


def first_cell(positions: Sequence[int]) -> Getter:
    """Return a getter of the first cell that is filled, of single columns."""
    if len(positions) == 1:
        return itemgetter(positions[0])
    first, second, *further = positions
    if not further:
        return lambda row: row[first] or row[second]
    if len(further) == 1:
        (third,) = further
        return lambda row: row[first] or row[second] or row[third]
    return first_filled([itemgetter(position) for position in positions])


def first_filled(getters: Sequence[Getter]) -> Getter:
    """Return a getter of the first value that is filled."""

    def get(row: Row) -> Any:
        for getter in getters:
            if value := getter(row):
                return value
        return None

    return get


def all_cells(positions: Sequence[int]) -> Getter:
    """Return a getter of the filled cells of columns with the same name."""

    def get(row: Row) -> Any:
        cells = tuple(dict.fromkeys(cell for index in positions if (cell := row[index])))
        return cells[0] if len(cells) == 1 else cells

    return get


def without_mark(get: Getter) -> Getter:
    """Return *get* without the apostrophe of a spreadsheet: ``'01234`` becomes ``01234``."""

    def get_value(row: Row) -> Any:
        value = get(row)
        if type(value) is tuple:  # several columns with the same name
            return tuple(cell.lstrip("'") for cell in value)
        return value.lstrip("'") if type(value) is str and value[:1] == "'" else value

    return get_value


def translated(get: Getter, words: Mapping[str, str]) -> Getter:
    """Return a getter that translates the values of *get* by *words*, and keeps other values."""

    def get_value(row: Row) -> Any:
        value = get(row)
        return words.get(value.strip().casefold(), value) if isinstance(value, str) else value

    return get_value


def inside(position: int, path: Sequence[str]) -> Getter:
    """Return a getter of the value at *path* inside an object of JSON."""

    def get(row: Row) -> Any:
        value = row[position]
        for key in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    return get


def stem(pattern: str, column: str) -> str:
    """Return the text in place of ``*``: ``plan`` for ``* (metadata)`` and ``plan (metadata)``."""
    before, star, after = pattern.partition("*")
    return column[len(before) : len(column) - len(after)].strip() if star else column


def add_names(customer: dict[str, Any], name: str) -> None:
    """Add first and last name to *customer*; the last word of *name* is the last name."""
    first, _, last = name.strip().rpartition(" ")
    for field, value in (("first_name", first), ("last_name", last)):
        if value.strip():
            customer.setdefault(field, value.strip())


def to_customer(fields: Mapping[str, Any]) -> Customer:
    """Return a customer; an error names the field with its path.

    Raises:
        InvalidConversionError: a value is neither text nor a number.
    """
    try:
        return Customer(**fields)
    except InvalidConversionError as exc:
        raise InvalidConversionError(f"customer.{exc.name}", exc.problem) from None
