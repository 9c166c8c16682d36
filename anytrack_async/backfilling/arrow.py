"""Parquet and Arrow files, read by row group or record batch with pyarrow."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import IO, Any

from anytrack_async.backfilling.blocks import BLOCK_ROWS, Block, Breather
from anytrack_async.backfilling.files import OpenFile, arrow_module
from anytrack_async.backfilling.report import SourceInfo

PARQUET = b"PAR1"
ARROW = b"ARROW1"
_STREAM = b"\xff\xff\xff\xff"  # how an Arrow stream begins


def is_arrow(sample: bytes) -> bool:
    """Return whether a file that begins with *sample* is for `ArrowReader`."""
    return sample.startswith((PARQUET, ARROW, _STREAM))


class ArrowReader:
    """The rows of a Parquet file, or of an Arrow file or stream.

    A row's line is its number. Both formats of files are read from their end, so that one that is
    compressed as a whole, or comes from a pipe, is copied to a temporary file first.

    Args:
        file: the file.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """

    def __init__(self, file: OpenFile) -> None:
        self._arrow: Any = arrow_module("Parquet and Arrow files")
        self._file = file
        self._open = ExitStack()
        is_parquet = file.sample.startswith(PARQUET)
        self._rows: int | None = None
        self._consumed = 0
        with self._readable():
            self._batches, columns = self._parquet() if is_parquet else self._ipc()
        self.parameters: dict[str, str] = {}
        self.info = SourceInfo(
            name=file.name,
            format="parquet" if is_parquet else "arrow",
            columns=columns,
            size=file.raw.size,
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn pyarrow's errors into an `OSError` that names the file."""
        try:
            yield
        except self._arrow.ArrowException as exc:
            problem = " ".join(str(exc).split())
            raise OSError(
                f"{self._file.name} is damaged, or was not copied to its end: {problem}"
            ) from exc

    def _seekable(self) -> Any:
        copy: IO[bytes] = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        shutil.copyfileobj(self._file.stream, copy, 1 << 20)
        copy.seek(0)
        return self._arrow.PythonFile(copy, "r")

    def _source(self) -> Any:
        if self._file.compressed or self._file.raw.size is None:
            return self._seekable()
        return self._open.enter_context(self._arrow.OSFile(self._file.path))

    def _parquet(self) -> tuple[Iterator[Any], tuple[str, ...]]:
        file = import_module("pyarrow.parquet").ParquetFile(self._source())
        self._rows = file.metadata.num_rows
        # One row group at a time: for all of them, pyarrow would keep all bytes that it has read.
        batches = (
            batch
            for group in range(file.num_row_groups)
            for batch in file.iter_batches(BLOCK_ROWS, row_groups=[group], use_threads=False)
        )
        return batches, tuple(file.schema_arrow.names)

    def _ipc(self) -> tuple[Iterator[Any], tuple[str, ...]]:
        ipc = self._arrow.ipc
        if self._file.sample.startswith(_STREAM):
            stream = ipc.open_stream(self._file.stream)
            return _pieces(stream), tuple(stream.schema.names)
        file = ipc.open_file(self._source())
        batches = (file.get_batch(index) for index in range(file.num_record_batches))
        return _pieces(batches), tuple(file.schema.names)

    @property
    def is_random(self) -> bool:
        """Whether the file is read from several places, and not through `OpenFile.raw`."""
        is_stream = self._file.sample.startswith(_STREAM)
        return not is_stream and not self._file.compressed and self._file.raw.size is not None

    @property
    def fraction(self) -> float | None:
        """The part of the rows that was read, 0 to 1; None if their number is unknown."""
        return self._consumed / self._rows if self._rows else None

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Read the file once, without its first *skip* rows."""
        consumed = 0
        breather = Breather()
        columns = tuple(self.info.columns)
        while (batch := self._next_batch()) is not None:
            start = max(0, skip - consumed)
            self._consumed = consumed = consumed + batch.num_rows
            if start >= batch.num_rows:
                continue
            part = batch.slice(start)
            values = [self._values(column, breather) for column in part.columns]
            first = consumed - part.num_rows + 1
            yield Block(
                columns=columns,
                rows=[list(row) for row in zip(*values, strict=True)],
                lines=range(first, consumed + 1),
                consumed=consumed,
            )

    def _next_batch(self) -> Any:
        with self._readable():
            return next(self._batches, None)

    def _values(self, column: Any, breather: Breather) -> list[Any]:
        breather.breathe()
        types = self._arrow.types
        if types.is_float16(column.type) or types.is_float32(column.type):
            # As text, 49.9 stays 49.9; as a number of double length it is 49.900001525878906.
            return [None if text is None else float(text) for text in self._texts(column)]
        if types.is_binary(column.type) or types.is_large_binary(column.type):
            return [_decoded(value) for value in column.to_pylist()]
        if types.is_timestamp(column.type) and column.type.unit == "ns":
            # Python's times have microseconds; pyarrow would ask for pandas.
            column = column.cast(self._arrow.timestamp("us", column.type.tz), safe=False)
        return list(column.to_pylist())

    def _texts(self, column: Any) -> list[str | None]:
        single = column.cast(self._arrow.float32())
        return list(single.cast(self._arrow.string()).to_pylist())


def _decoded(value: bytes | None) -> str | bytes | None:
    """Return text that a writer has not marked as text."""
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _pieces(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield parts of `BLOCK_ROWS` of *batches*, which may be as long as the file."""
    for batch in batches:
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            yield batch.slice(start, BLOCK_ROWS)
