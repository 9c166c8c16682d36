"""`Header`: the columns of one file, and functions from its rows to the fields of a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from anytrack_async.backfilling.getters import (
    Getter,
    Row,
    all_cells,
    first_cell,
    first_filled,
    inside,
    positions_of,
    translated,
    without_mark,
)
from anytrack_async.backfilling.mapping import FileMapping, normalised
from anytrack_async.models.customer import UNUSABLE

# A spreadsheet shows 01234 and +49 170 as text if an apostrophe stands before them; exports of
# shops have the apostrophe, too.
_MARKED_AS_TEXT = ("customer.postal_code", "customer.phone")

# Columns with the same name are several values of these fields, as in Meta's customer lists.
_SEVERAL_VALUES = frozenset(f"customer.{name}" for name in UNUSABLE)


class Header:
    """The columns of one file, and the field that each column belongs to.

    Args:
        mapping: the table of columns and fields.
        columns: the names of the file's columns; names may repeat.

    Attributes:
        columns: the names.
    """

    def __init__(self, mapping: FileMapping, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._mapping = mapping
        self._positions = positions_of(columns)

    def positions(self, columns: Iterable[str]) -> list[list[int]]:
        """Return the positions of the *columns* that the file has."""
        names = map(normalised, columns)
        return [self._positions[name] for name in names if name in self._positions]

    def position(self, column: str) -> int:
        """Return the first position of *column*, which the file has."""
        return self._positions[normalised(column)][0]

    def present(self, names: Iterable[str]) -> str:
        """Return the *names* that the file has, for a message."""
        present = [
            name
            for name in names
            if normalised(name) in self._positions
            or normalised(name.partition(".")[0]) in self._positions
        ]
        return ", ".join(dict.fromkeys(present))

    def cell(self, row: Row, column: str) -> Any:
        """Return the cell of *column*; None if the file does not have the column."""
        positions = self._positions.get(normalised(column))
        return row[positions[0]] if positions else None

    def columns_of(self, field: str) -> str:
        """Return the columns that *field*, as an error names it, is read from."""
        for name in (field, f"customer.{field}"):
            if columns := self.present(self._mapping.columns.get(name, ())):
                return columns
        if field == "revenue":
            return self.present(
                column for amount in self._mapping.amounts.values() for column in amount.columns
            )
        if field == "timestamp":
            return self.present(
                column
                for name in ("date", "time", "zone")
                for column in self._mapping.columns.get(name, ())
            )
        return ""

    def getter_of(self, field: str) -> Getter | None:
        """Return a getter of the cell of *field*; None if the file has no column for it."""
        return self.getter(self._mapping.columns.get(field, ()))

    def getter(
        self, columns: Iterable[str], *, marked: bool = False, several: bool = False
    ) -> Getter | None:
        """Return a getter of the first of *columns* that is filled; None if the file has none.

        Args:
            columns: names of columns, the best first.
            marked: whether a cell may have the apostrophe of a spreadsheet before it.
            several: whether all filled cells of columns with the same name are its value.
        """
        columns = tuple(columns)
        indexes = self.positions(columns)
        if not indexes:
            return self._path_getter(columns)
        if not several or all(len(positions) == 1 for positions in indexes):
            get = first_cell([position for positions in indexes for position in positions])
        else:
            get = first_filled([all_cells(positions) for positions in indexes])
        return without_mark(get) if marked else get

    def _path_getter(self, columns: Sequence[str]) -> Getter | None:
        """Return a getter for a path into the objects of JSON, such as ``customer.email``."""
        for column in columns:
            root, _, names = column.partition(".")
            if names and (positions := self._positions.get(normalised(root))):
                return inside(positions[0], names.split("."))
        return None

    def part(self, prefix: str, names: Iterable[str] | None = None) -> list[tuple[str, Getter]]:
        """Return the fields that begin with *prefix*, without it, and their getters.

        Args:
            prefix: such as ``"customer."``; empty for all fields.
            names: only these fields.
        """
        part = []
        for field, columns in self._mapping.columns.items():
            if names is not None and field not in names:
                continue
            if not field.startswith(prefix) or field == "customer.name":
                continue
            get = self.getter(
                columns, marked=field in _MARKED_AS_TEXT, several=field in _SEVERAL_VALUES
            )
            if get is not None:
                words = self._mapping.translate.get(field)
                part.append((field.removeprefix(prefix), translated(get, words) if words else get))
        return part
