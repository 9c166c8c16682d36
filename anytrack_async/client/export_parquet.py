"""Exports as Parquet, written by row group in flat memory; needs the extra ``[parquet]``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from typing import Any

from anytrack_async.client.export_formats import NESTED, plain_value
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.plain import as_json

_GROUP_ROWS = 20_000


class ParquetFormatter:
    """Formats one file: a column of times in UTC, and all others text.

    Revenue is text, because a decimal type has a fixed number of digits behind the point, and would
    write 49.90 as 49.900000. `sub_ids`, `custom_data`, `clicks` and `consent` are JSON text,
    because their keys differ from row to row.

    Args:
        columns: fields of a conversion, in order.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            parquet: Any = import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigurationError(
                "exporting as Parquet needs pyarrow: pip install 'anytrack_async[parquet]'"
            ) from None
        self._schema = self._arrow.schema(
            [self._arrow.field(name, self._type(name)) for name in columns]
        )
        self._columns = columns
        self._rows: list[Conversion] = []
        self._output = _Output()
        self._writer = parquet.ParquetWriter(self._output, self._schema)

    def _type(self, name: str) -> Any:
        if name == "timestamp":
            return self._arrow.timestamp("us", tz="UTC")
        return self._arrow.string()

    def __call__(self, rows: Sequence[Conversion], _: bool) -> bytes:
        """Return the bytes of a row group, once there are enough rows for one."""
        self._rows += rows
        if len(self._rows) >= _GROUP_ROWS:
            self._write_group()
        return self._output.take()

    def end(self) -> bytes:
        """Return the last row group and the index of the file."""
        if self._rows:
            self._write_group()
        self._writer.close()
        return self._output.take()

    def _write_group(self) -> None:
        values = {name: [_value(row, name) for row in self._rows] for name in self._columns}
        table = self._arrow.Table.from_pydict(values, schema=self._schema)
        self._writer.write_table(table, row_group_size=len(self._rows))
        self._rows = []


def _value(row: Conversion, name: str) -> Any:
    if name == "timestamp":
        return row.timestamp
    value = plain_value(row, name)
    if name in NESTED:
        return None if value is None else as_json(value)
    # Parquet is UTF-8, which cannot encode an unpaired surrogate: it becomes a question mark.
    return None if value is None else str(value).encode(errors="replace").decode()


class _Output(BytesIO):
    """A file in memory from which `take` removes the written bytes; positions still count them."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0

    def take(self) -> bytes:
        """Return the bytes written since the last call, and free their memory."""
        data = self.getvalue()
        self._taken += len(data)
        self.seek(0)
        self.truncate()
        return data

    def tell(self) -> int:
        """Return the position in the whole file."""
        return self._taken + super().tell()

    def close(self) -> None:
        """Stay open: the end of the file is taken after the writer has closed it."""
