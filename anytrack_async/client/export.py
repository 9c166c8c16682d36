"""Exports of conversions to CSV and JSON Lines, in flat memory and off the event loop."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from asyncio import get_running_loop
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock, Thread
from typing import IO, Any, TypeVar

import anyio
import orjson
from anyio import to_thread

from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion

CSV_COLUMNS = (
    "id",
    "click_id",
    "conversion_type",
    "revenue",
    "currency",
    "source",
    "campaign_id",
    "ad_id",
    "timestamp",
    "ip_address",
)
"""The columns of a CSV export, in order."""

_JSON_FIELDS = (
    *CSV_COLUMNS,
    *("event_id", "event_name", "order_id", "user_agent", "page_url", "sub_ids", "custom_data"),
)
_SLICE_SIZE = 1_000
"""Conversions formatted and written in one call to a worker thread."""
_DISCARD_TIMEOUT = 5.0
"""Seconds for which a failed export waits until its file is removed, which goes on after that."""

# A spreadsheet runs a cell that starts with one of these as a formula; with East Asian settings in
# full width, too. Some skip whitespace and invisible characters before it.
# Source: OWASP, "CSV Injection".
_SIGNS = (
    "=+@-" + "\uff1d\uff0b\uff20\uff0d" + "\ufe66\ufe62\ufe6b\ufe63" + "\u207c\u207a\u207b\u2212"
)
_INVISIBLE = (
    r"\s\x00-\x1f\x7f-\xa0\xad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
)
_is_formula = re.compile(rf"[\t\r\n]|[{_INVISIBLE}]*[{re.escape(_SIGNS)}]").match


_T = TypeVar("_T")

Formatter = Callable[[Sequence[_T], bool], bytes]
"""Formats some rows; the second argument is whether they are the first ones of the file."""


async def export(
    conversions: AsyncGenerator[Conversion, None],
    path: str | os.PathLike[str],
    format_: str | None = None,
) -> int:
    """Write *conversions* to a file and return the number written; see `write_file`.

    Args:
        conversions: the conversions; the generator is closed at the end.
        path: path of the file.
        format_: ``"csv"`` or ``"jsonl"``; default: the path's suffix.

    Raises:
        ConfigurationError: the format is unknown.
        OSError: the file cannot be written.
    """
    return await write_file(conversions, Path(path), _FORMATS, format_)


async def write_file(
    rows: AsyncGenerator[_T, None],
    path: Path,
    formats: Mapping[str, Formatter[_T]],
    format_: str | None = None,
) -> int:
    """Write *rows* to a file and return the number written.

    The file appears complete or not at all: it is written under a temporary name in the same folder
    and renamed at the end; one that fails or is cancelled is removed, also if a thread is creating
    it at that moment. It contains visitors' IP addresses, so only its owner may read it.

    Args:
        rows: the rows; the generator is closed at the end.
        path: path of the file.
        formats: suffix → formatter.
        format_: the suffix to use; default: the path's.

    Raises:
        ConfigurationError: the format is unknown.
        OSError: the file cannot be written.
    """
    name = format_ or path.suffix.lstrip(".").lower()
    if name not in formats:
        raise ConfigurationError(
            f"cannot export as {name or 'nothing'!r}; supported formats: {', '.join(formats)}"
        )
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

    A task that asyncio cancels leaves its thread behind, in the middle of a method. So the methods
    take turns, and one that comes after `discard` has no effect: whichever thread is last, no file
    is left.

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
    done = anyio.Event()
    loop = get_running_loop()

    def discard() -> None:
        try:
            file.discard()
        except OSError:
            pass  # the export has an error already, which says more
        finally:
            with suppress(RuntimeError):  # the event loop is closed, and no task waits
                loop.call_soon_threadsafe(done.set)

    Thread(target=discard, name="anytrack-export").start()
    with anyio.move_on_after(_DISCARD_TIMEOUT, shield=True):
        await done.wait()


async def _write(rows: AsyncIterator[_T], file: _UnfinishedFile, format_rows: Formatter[_T]) -> int:
    count = 0
    async with aclosing(_in_slices(rows)) as slices:
        async for part in slices:
            await to_thread.run_sync(file.append, format_rows, part, not count)
            count += len(part)
    if not count:  # a CSV file without conversions still has its header
        await to_thread.run_sync(file.append, format_rows, (), True)
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


def escape_formula(text: str) -> str:
    """Return *text* with an apostrophe before it if a spreadsheet would run it as a formula.

    "=1+1" becomes "'=1+1", which a spreadsheet shows as text. "1-1" stays as it is.
    """
    return f"'{text}" if _is_formula(text) else text


def unescape_formula(text: str) -> str:
    """Return the text that `escape_formula` was called with."""
    return text[1:] if text.startswith("'") and _is_formula(text[1:]) else text


def _csv(rows: Sequence[Conversion], first: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if first:
        writer.writerow(CSV_COLUMNS)
    writer.writerows([_cell(row, name) for name in CSV_COLUMNS] for row in rows)
    return text.getvalue().encode(errors="replace")


def _cell(row: Conversion, name: str) -> str:
    value = _plain(row, name)
    text = "" if value is None else str(value)
    return text if name == "revenue" else escape_formula(text)  # a negative revenue is a number


def _jsonl(rows: Sequence[Conversion], _: bool) -> bytes:
    return b"".join(_line(_record(row)) for row in rows)


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # AnyTrack's custom data has an integer of more than 64 bits
        record = json.loads(json.dumps(record), parse_constant=lambda _: None)  # NaN is not JSON
        return json.dumps(record, ensure_ascii=False).encode(errors="replace") + b"\n"


def _record(row: Conversion) -> dict[str, Any]:
    plain = {name: _plain(row, name) for name in _JSON_FIELDS}
    return {name: value for name, value in plain.items() if value not in (None, {})}


def _plain(row: Conversion, name: str) -> Any:
    value = getattr(row, name)
    if name == "timestamp":
        return value.isoformat()
    # Revenue is text: as a JSON number, 49.90 would be read back as 49.9, and 0.1 inexactly.
    return str(value) if name in ("revenue", "conversion_type") else value


_FORMATS: Mapping[str, Formatter[Conversion]] = {"csv": _csv, "jsonl": _jsonl}
