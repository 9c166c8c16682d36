"""The line items of orders, each of which is a row of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from anytrack_async.backfilling.getters import Row
from anytrack_async.backfilling.header import Header
from anytrack_async.backfilling.row_values import ParseAmount
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import LineItem

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
        """Return the line item of *row*, None if it has no id.

        Raises:
            InvalidConversionError: one of its values is not valid.
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
