"""JSON Lines and JSON arrays: one object is one row, and its keys are the columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

import orjson

from anytrack_async.backfilling.blocks import PIECE_ROWS, BadRow, Block, Breather
from anytrack_async.backfilling.files import EmptyFileError, OpenFile, guess_encoding, text_stream
from anytrack_async.backfilling.report import SourceInfo
from anytrack_async.errors import ConfigurationError

_CHUNK = 256 * 1024  # characters
_MAX_RECORD = 32 * 1024 * 1024  # characters
_BETWEEN = re.compile(r"[\s,]*")

_Numbered = tuple[int, Any, str | None]
"""The line of a record, the record, and the problem if it is not an object."""


class JsonReader:
    """The records of a file of JSON Lines, or of a JSON array.

    An array is read piece by piece, so that memory stays flat.

    Args:
        file: the file.
        encoding: of its text; None to find it.
    """

    def __init__(self, file: OpenFile, *, encoding: str | None = None) -> None:
        self._encoding = encoding or guess_encoding(file.sample)
        self._file = file
        self.parameters: dict[str, str] = {}
        first = file.sample.decode(self._encoding, errors="replace").lstrip("\ufeff \t\r\n")[:1]
        self._is_array = first == "["
        self._blocks = self._read()
        self._pending = next(self._blocks, None)
        self.info = SourceInfo(
            name=file.name,
            format="json" if self._is_array else "jsonl",
            columns=self._pending.columns if self._pending else (),
            encoding=self._encoding,
            guessed=() if encoding else ("encoding",),
            size=file.raw.size,
        )

    @property
    def first_problem(self) -> str:
        """The fault of the first record; empty if the record is an object."""
        block = self._pending
        if block is None or not block.bad or (block.lines and block.lines[0] < block.bad[0].line):
            return ""
        return block.bad[0].problem

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Read the file once, without its first *skip* records."""
        block, before = self._pending, 0
        while block is not None:
            remaining = skip - before
            before = block.consumed
            if remaining <= 0:
                yield block
            elif before > skip:
                yield _without(block, skip)
            block = next(self._blocks, None)

    def _read(self) -> Iterator[Block]:
        columns: dict[str, None] = {}
        records: list[Mapping[str, Any]] = []
        lines: list[int] = []
        bad: list[BadRow] = []
        consumed = 0
        breather = Breather()
        for line, record, problem in self._records():
            consumed += 1
            if problem is None:
                records.append(record)
                lines.append(line)
            else:
                bad.append(BadRow(line=line, problem=problem, cells=(record,)))
            if not consumed % PIECE_ROWS:
                breather.breathe()
            if len(records) + len(bad) >= PIECE_ROWS:
                yield _block(columns, records, lines, bad, consumed)
                records, lines, bad = [], [], []
        if records or bad:
            yield _block(columns, records, lines, bad, consumed)

    def _records(self) -> Iterator[_Numbered]:
        if self._is_array:
            return _array_records(text_stream(self._file, self._encoding))
        if self._encoding in ("utf-8", "utf-8-sig"):
            return _line_records(self._file.stream)
        text = text_stream(self._file, self._encoding)
        return _line_records(line.encode(errors="replace") for line in text)


def _without(block: Block, skip: int) -> Block:
    """Return *block* without the records up to number *skip* of the source."""
    first = block.consumed - len(block.rows) - len(block.bad)
    numbered = [
        *((line, row, None) for line, row in zip(block.lines, block.rows, strict=True)),
        *((row.line, None, row) for row in block.bad),
    ]
    later_records = sorted(numbered, key=lambda item: item[0])[skip - first :]
    return Block(
        columns=block.columns,
        rows=[row for _, row, _ in later_records if row is not None],
        lines=[line for line, row, _ in later_records if row is not None],
        bad=[bad for _, _, bad in later_records if bad is not None],
        consumed=block.consumed,
    )


def _block(
    columns: dict[str, None],
    records: list[Mapping[str, Any]],
    lines: list[int],
    bad: list[BadRow],
    consumed: int,
) -> Block:
    # Columns of earlier blocks come first, so that most blocks have the same ones.
    for record in records:
        if not record.keys() <= columns.keys():
            columns.update(dict.fromkeys(record))
    names = tuple(columns)
    rows = [[*map(record.get, names)] for record in records]
    return Block(columns=names, rows=rows, lines=lines, bad=bad, consumed=consumed)


def _line_records(lines: Iterable[bytes]) -> Iterator[_Numbered]:
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            problem = f"is not JSON: {exc.msg}, column {exc.colno}"
            try:  # NaN, and half of a surrogate pair, cost their field at most
                record = json.loads(line)
            except (ValueError, RecursionError):
                yield number, line.decode(errors="replace").rstrip("\r\n"), problem
                continue
        yield (number, *_checked(record))


def _checked(record: Any) -> tuple[Any, str | None]:
    if isinstance(record, dict):
        return record, None
    return record, f"must be an object, not {type(record).__name__}"


def _broken(text: str, error: json.JSONDecodeError) -> tuple[str, str]:
    """Return the beginning of a record that cannot be read, and the reason."""
    if not text:
        return "", "is missing: the file ends inside the array"
    return text, f"is not JSON: {error.msg}"


def _array_records(text: TextIO) -> Iterator[_Numbered]:
    """Yield the records of an array; the line is the one where the record begins."""
    decode = json.JSONDecoder().raw_decode
    buffer, ended = text.read(_CHUNK), False
    start = buffer.index("[") + 1
    line = 1 + buffer.count("\n", 0, start)
    while True:
        begin = _BETWEEN.match(buffer, start).end()  # type: ignore[union-attr]
        line += buffer.count("\n", start, begin)
        start = begin
        if start < len(buffer) and buffer[start] == "]":
            return
        try:
            record, end = decode(buffer, start)
        except json.JSONDecodeError as exc:
            # Perhaps the record goes on behind the end of the buffer.
            more = "" if ended else text.read(_CHUNK)
            ended = not more
            if ended or len(buffer) - start > _MAX_RECORD:
                yield (line, *_broken(buffer[start : start + 200], exc))
                return
            buffer, start = buffer[start:] + more, 0
            continue
        except RecursionError:
            yield line, buffer[start : start + 200], "is nested too deeply to be a record"
            return
        yield (line, *_checked(record))
        line += buffer.count("\n", start, end)
        start = end
        if start > _CHUNK:
            buffer, start = buffer[start:], 0


def check_json(sample: bytes, encoding: str | None) -> bool:
    """Return whether the text that begins with *sample* is JSON, not CSV."""
    text = sample[:4096].decode(encoding or guess_encoding(sample), errors="replace")
    return text.lstrip("\ufeff \t\r\n")[:1] in ("[", "{")


def _goes_on(problem: str) -> bool:
    """Return whether an object begins on the first line and ends on a later line."""
    return "unexpected end of data" in problem


def raise_if_empty(reader: JsonReader) -> None:
    """Raise `EmptyFileError` if the file has no record.

    Raises:
        ConfigurationError: the file has records, but the first line is not a whole object.
    """
    problem = reader.first_problem
    if problem and (not reader.info.columns or _goes_on(problem)):
        raise ConfigurationError(
            f"{reader.info.name}: its first line {problem}: there must be an object on each line, "
            "or an array of objects"
        )
    if not reader.info.columns:
        raise EmptyFileError(f"{reader.info.name} has no records")
