"""CSV and TSV: the delimiter is found in the file, rows may have cells of several lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from anytrack_async.backfilling.advice import IN_PYTHON, Advice
from anytrack_async.backfilling.blocks import PIECE_ROWS, BadRow, Block, Breather
from anytrack_async.backfilling.files import (
    UNDECODED,
    EmptyFileError,
    OpenFile,
    guess_encoding,
    text_stream,
    undecoded_bytes,
)
from anytrack_async.backfilling.report import REJECT_COLUMNS, SourceInfo
from anytrack_async.errors import ConfigurationError

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_ROWS = 20
_STATED_DELIMITER = re.compile(r'^\ufeff?"?sep=(.)"?[ \t]*\r?\n')
_OPEN_QUOTE = (
    "has a quotation mark that is not closed, so that all rows behind it are in one of its cells"
)
_is_undecoded = re.compile(f"[{UNDECODED}]").search


class _Piece(NamedTuple):
    """Some rows, the lines where they begin, and line → problem of rows that are not CSV."""

    rows: Sequence[list[str]]
    lines: Sequence[int]
    problems: Mapping[int, str]


def guess_delimiter(sample: str) -> str:
    r"""Return the delimiter of the CSV file that begins with *sample*.

    With the right delimiter, the first rows have the most cells, and all rows equally many. In
    ``a;b\n1,5;2`` that is the semicolon: split at commas, the rows have one cell and two.
    """
    lines = sample.splitlines(keepends=True)
    if len(lines) > 2 and lines[-1][-1] not in "\r\n":
        lines = lines[:-1]  # the sample may end inside a line
    return max(_DELIMITERS, key=lambda delimiter: _fit(lines, delimiter))


def _fit(lines: list[str], delimiter: str) -> tuple[bool, int, float]:
    try:
        reader = csv.reader(lines, delimiter=delimiter)
        rows = [row for row in islice(reader, _SAMPLE_ROWS) if row and not _is_remark(row)]
    except csv.Error:
        return False, 0, 0.0
    if not rows:
        return False, 0, 0.0
    # A line of parameters may stand above the header.
    header = rows[1] if len(rows) > 1 and rows[0][0].lower().startswith("parameters:") else rows[0]
    same = sum(len(row) == len(header) for row in rows) / len(rows)
    return len(header) > 1 and same >= 0.5, len(header), same


class DelimitedReader:
    """The rows of a CSV or TSV file.

    Args:
        file: the file.
        encoding: encoding of the text; None to detect it.
        delimiter: separator of the cells; None to detect it.
        header: the columns of a file that has no header line.
        advice: names the settings in messages.

    Raises:
        ConfigurationError: it has no header, or is not text in *encoding*.
    """

    def __init__(
        self,
        file: OpenFile,
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        header: tuple[str, ...] = (),
        advice: Advice = IN_PYTHON,
    ) -> None:
        guessed = [
            name for name, value in (("encoding", encoding), ("delimiter", delimiter)) if not value
        ]
        self._encoding = encoding or guess_encoding(file.sample)
        sample = file.sample.decode(self._encoding, errors="replace")
        if first_line := _STATED_DELIMITER.match(sample):
            delimiter = delimiter or first_line[1]
        self._delimiter = delimiter or guess_delimiter(sample)
        self._undecoded_before = undecoded_bytes.count
        self._text = text_stream(file, self._encoding)
        if first_line:
            self._text.readline()
        self._lines_before = 1 if first_line else 0
        self._name = file.name
        self._advice = advice
        self._reader = csv.reader(self._text, delimiter=self._delimiter)
        self.parameters: dict[str, str] = {}
        self._first: list[str] | None = None
        columns = self._read_header(header)
        self._width = len(columns)
        self.info = SourceInfo(
            name=file.name,
            format="csv",
            columns=columns,
            encoding=self._encoding,
            delimiter=self._delimiter,
            guessed=guessed,
            size=file.raw.size,
        )

    def _read_header(self, header: tuple[str, ...]) -> tuple[str, ...]:
        row = self._next_filled()
        if row and row[0].lstrip("\ufeff").lower().startswith("parameters:"):
            self.parameters = _parameters(row)
            row = self._next_filled()
        if header:
            if row and set(row).issuperset(REJECT_COLUMNS):  # corrected rows of such a file
                return tuple(row)
            if not row or not _has_name(row, header):
                self._first = row
            return header
        if row is None:
            raise EmptyFileError(f"{self._name} is empty: it has no header line")
        return tuple(name.lstrip("\ufeff").strip() for name in row)

    def _next_filled(self) -> list[str] | None:
        try:
            rows = (row for row in self._reader if any(row) and not _is_remark(row))
            return next(rows, None)
        except (csv.Error, UnicodeError) as exc:
            raise ConfigurationError(
                f"{self._name}: the header cannot be read ({type(exc).__name__}): state "
                f"{self._advice.name('encoding')} and {self._advice.name('delimiter')}"
            ) from None

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Read the file once, without its first *skip* rows."""
        rows: list[list[str]] = []
        lines: list[int] = []
        bad: list[BadRow] = []
        consumed = 0
        for piece in self._pieces():
            consumed += len(piece.rows)
            start = len(piece.rows) - consumed + skip
            if start > 0:  # in the part of the file that an earlier run has read
                piece = _Piece(piece.rows[start:], piece.lines[start:], piece.problems)
            self._add(piece, rows, lines, bad)
            if len(rows) + len(bad) >= PIECE_ROWS:
                yield self._block(rows, lines, bad, consumed)
                rows, lines, bad = [], [], []
        if rows or bad:
            yield self._block(rows, lines, bad, consumed)

    def _add(
        self, piece: _Piece, rows: list[list[str]], lines: list[int], bad: list[BadRow]
    ) -> None:
        """Add the rows of *piece* to *rows* or, if they have a problem, to *bad*."""
        width = self._width
        suspect = undecoded_bytes.count != self._undecoded_before
        if not piece.problems and not suspect and {*map(len, piece.rows)} <= {width}:
            rows += piece.rows
            lines += piece.lines
            return
        for line, row in zip(piece.lines, piece.rows, strict=True):
            problem = piece.problems.get(line)
            if problem is None and suspect:
                problem = self._undecoded(row)
            if problem is None and len(row) != width:
                problem = self._fit_row(row)
            if problem is None:
                rows.append(row)
                lines.append(line)
            else:
                bad.append(BadRow(line=line, problem=problem, cells=row))

    def _block(
        self, rows: list[list[str]], lines: list[int], bad: list[BadRow], consumed: int
    ) -> Block:
        columns = tuple(self.info.columns)
        return Block(columns=columns, rows=rows, lines=lines, bad=bad, consumed=consumed)

    def _pieces(self) -> Iterator[_Piece]:
        """Yield some rows at a time: a call per row would take as long as reading the row."""
        reader, breather = self._reader, Breather()
        if self._first is not None:
            yield _Piece([self._first], [self._lines_before + reader.line_num], {})
        while True:
            begin = reader.line_num
            rows: list[list[str]] = []
            problem = None
            try:
                rows.extend(islice(reader, PIECE_ROWS))  # keeps the rows before an error
            except csv.Error as exc:
                problem = f"is not CSV ({exc}): look for a quotation mark that is not closed"
            if not rows and problem is None:
                return
            yield self._numbered(rows, begin, problem)
            breather.breathe()

    def _numbered(self, rows: list[list[str]], begin: int, problem: str | None) -> _Piece:
        """Return *rows* with the lines where they begin; *problem* is about the row after them."""
        first = self._lines_before + begin + 1
        if problem is None and self._reader.line_num - begin == len(rows) and all(rows):
            return _Piece(rows, range(first, first + len(rows)), {})
        return self._numbered_one_by_one(rows, first, problem)

    def _numbered_one_by_one(
        self, rows: list[list[str]], first: int, problem: str | None
    ) -> _Piece:
        """Return *rows* as `_numbered`, also with blank lines, and with line breaks in cells."""
        lines, first = _line_numbers(rows, first)
        filled = [(line, row) for line, row in zip(lines, rows, strict=True) if row]
        if problem is not None:
            filled.append((first, []))
        elif len(rows) < PIECE_ROWS and self._is_open(rows[-1]):
            problem, first = _OPEN_QUOTE, lines[-1]
        problems = {first: problem} if problem else {}
        return _Piece([row for _, row in filled], [line for line, _ in filled], problems)

    def _undecoded(self, row: list[str]) -> str | None:
        if not any(not cell.isascii() and _is_undecoded(cell) for cell in row):
            return None
        advice = self._advice.state("encoding")
        return f"is not text in {self._encoding}: state the file's encoding, e.g. {advice}"

    def _is_open(self, row: list[str]) -> bool:
        """Return whether *row*, the last of the file, has a quotation mark that is not closed."""
        return 0 < len(row) < self._width and "\n" in row[-1]

    def _fit_row(self, row: list[str]) -> str | None:
        """Give a short row its missing cells; return the problem of a row that is too long."""
        missing = self._width - len(row)
        if missing > 0:
            row += [""] * missing
        elif any(row[self._width :]):
            return (
                f"has {len(row)} cells, but the header has {self._width}: look for a delimiter "
                f"{self._delimiter!r} in a cell without quotation marks"
            )
        else:
            del row[self._width :]
        return None


def _line_numbers(rows: Iterable[Sequence[str]], first: int) -> tuple[list[int], int]:
    """Return the lines where *rows* begin, from *first* on, and the line behind them.

    A row with a line break in a cell takes two lines: rows of 1, 2 and 1 lines begin at 1, 2 and 4.
    """
    lines = []
    for row in rows:
        lines.append(first)
        text = "".join(row)
        first += 1 + text.count("\n") + text.count("\r") - text.count("\r\n")
    return lines, first


def _has_name(row: Sequence[str], header: Sequence[str]) -> bool:
    """Return whether *row* is the header of a file that has none as a rule."""
    first, expected = ("".join(filter(str.isalnum, name)).lower() for name in (row[0], header[0]))
    return first == expected


def _is_remark(row: Sequence[str]) -> bool:
    """Return whether *row* is a line above the header such as ``### INSTRUCTIONS ###,,,``.

    Templates of Google Ads begin with such lines.
    """
    first = row[0].lstrip("\ufeff")
    return len(first) > 1 and first[0] == "#" and not any(row[1:])


def _parameters(row: Iterable[str]) -> dict[str, str]:
    """Return the parameters of ``Parameters:TimeZone=Europe/Berlin;EventSource=WEB``."""
    pairs = re.split(r"[;,]", ";".join(cell for cell in row if cell).partition(":")[2])
    parts = (pair.partition("=") for pair in pairs)
    return {name.strip().lower(): value.strip() for name, equals, value in parts if equals}
