"""Exports to files, in flat memory and off the event loop; `export_formats` has the formats."""

from __future__ import annotations

import os
from asyncio import get_running_loop
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock, Thread
from typing import IO, TypeVar

import anyio
from anyio import to_thread

from anytrack_async.client.export_formats import FORMATS, Formatter
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion

_SLICE_SIZE = 1_000
"""Conversions formatted and written in one call to a worker thread."""
_DISCARD_TIMEOUT = 5.0
"""Seconds for which a failed export waits for its file's removal, which continues after that."""

_T = TypeVar("_T")


async def export(
    conversions: AsyncGenerator[Conversion, None],
    path: str | os.PathLike[str],
    format_: str | None = None,
    columns: Sequence[str] | None = None,
) -> int:
    """Write *conversions* to a file and return the number written; see `write_file`.

    Args:
        conversions: the conversions; the generator is closed at the end.
        path: path of the file.
        format_: a name in `export_formats.FORMATS`; default: the path's suffix.
        columns: fields of a `Conversion`, in order; default: the format's.

    Raises:
        ConfigurationError: the format or a column is unknown, or pyarrow is missing.
        OSError: the file cannot be written.
    """
    name = format_name(Path(path), FORMATS, format_)
    file_format = FORMATS[name]
    formatter = file_format.formatter(file_format.checked(name, columns))
    rows = (
        conversions if file_format.accepts is None else _accepted(conversions, file_format.accepts)
    )
    return await write_file(rows, Path(path), {name: formatter}, name)


async def _accepted(
    conversions: AsyncGenerator[Conversion, None], accepts: Callable[[Conversion], bool]
) -> AsyncGenerator[Conversion, None]:
    async with aclosing(conversions):
        async for conversion in conversions:
            if accepts(conversion):
                yield conversion


def format_name(path: Path, formats: Mapping[str, object], format_: str | None) -> str:
    """Return *format_*, or the suffix of *path*.

    Raises:
        ConfigurationError: *formats* has no such format; the message lists those that it has.
    """
    name = format_ or path.suffix.lstrip(".").lower()
    if name not in formats:
        raise ConfigurationError(
            f"cannot export as {name or 'nothing'!r}; supported formats: {', '.join(formats)}"
        )
    return name


async def write_file(
    rows: AsyncGenerator[_T, None],
    path: Path,
    formats: Mapping[str, Formatter[_T]],
    format_: str | None = None,
) -> int:
    """Write *rows* to a file and return the number written.

    The file appears complete or not at all: it is written under a temporary name in the same folder
    and renamed at the end. If the export fails or is cancelled, the temporary file is removed, even
    if a thread is creating it at that moment. The file contains visitors' IP addresses, so only its
    owner may read it.

    Args:
        rows: the rows; the generator is closed at the end.
        path: path of the file.
        formats: suffix → formatter.
        format_: the suffix to use; default: the path's.

    Raises:
        ConfigurationError: the format is unknown.
        OSError: the file cannot be written.
    """
    name = format_name(path, formats, format_)
    async with aclosing(rows):
        file = _UnfinishedFile(path)
        try:
            await to_thread.run_sync(file.create)
            count = await _write(rows, file, formats[name])
            await to_thread.run_sync(file.publish)
        except BaseException:
            await _discard(file)
            raise
        return count


class _UnfinishedFile:
    """The file of an export under its temporary name; the methods are called in threads.

    When asyncio cancels a task, its thread continues in the middle of a method. So a lock lets only
    one method run at a time, and a method called after `discard` has no effect: no file is left,
    in whatever order the threads end.

    Args:
        target: the path that the complete file gets.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._turn = Lock()
        self._file: IO[bytes] | None = None
        self._discarded = False

    def create(self) -> None:
        """Create the file, which only its owner may read."""
        with self._turn:
            if not self._discarded:
                # In the target's folder: a rename is atomic only within one file system.
                self._file = NamedTemporaryFile(  # noqa: SIM115
                    dir=self._target.parent, prefix=f".{self._target.name}.", delete=False
                )

    def append(self, format_rows: Formatter[_T], rows: Sequence[_T], first: bool) -> None:
        """Write *rows*; *first* is whether they are the first ones."""
        with self._turn:
            if self._file is not None:
                self._file.write(format_rows(rows, first))

    def publish(self) -> None:
        """Give the complete file its name."""
        with self._turn:
            if (file := self._file) is None:
                return
            file.flush()
            # Otherwise the name could refer to an empty file after a power loss.
            os.fsync(file.fileno())
            file.close()
            Path(file.name).replace(self._target)

    def discard(self) -> None:
        """Remove the file unless it has got its name; nothing creates it again."""
        with self._turn:
            self._discarded = True
            file, self._file = self._file, None
            if file is None:
                return
            try:
                file.close()  # on a full disk, writing the last bytes fails once more
            finally:
                Path(file.name).unlink(missing_ok=True)


async def _discard(file: _UnfinishedFile) -> None:
    # In a thread of its own. A second cancellation would take the call out of anyio's queue for a
    # worker thread; this thread goes on, and a process that ends waits for it.
    is_discarded = anyio.Event()
    loop = get_running_loop()

    def discard() -> None:
        try:
            file.discard()
        except OSError:
            pass  # the export has an error already, which says more
        finally:
            with suppress(RuntimeError):  # the event loop is closed, and no task waits
                loop.call_soon_threadsafe(is_discarded.set)

    Thread(target=discard, name="anytrack-export").start()
    with anyio.move_on_after(_DISCARD_TIMEOUT, shield=True):
        await is_discarded.wait()


async def _write(rows: AsyncIterator[_T], file: _UnfinishedFile, format_rows: Formatter[_T]) -> int:
    count = 0
    async with aclosing(_in_slices(rows)) as slices:
        async for part in slices:
            await to_thread.run_sync(file.append, format_rows, part, not count)
            count += len(part)
    if not count:  # a CSV file without conversions still has its header
        await to_thread.run_sync(file.append, format_rows, (), True)
    # A Parquet file ends with an index; the files of other formats have no end of their own.
    if end := getattr(format_rows, "end", None):
        await to_thread.run_sync(file.append, lambda *_: end(), (), False)
    return count


async def _in_slices(rows: AsyncIterator[_T]) -> AsyncGenerator[Sequence[_T], None]:
    part: list[_T] = []
    async for row in rows:
        part.append(row)
        if len(part) == _SLICE_SIZE:
            yield part
            part = []
    if part:
        yield part
