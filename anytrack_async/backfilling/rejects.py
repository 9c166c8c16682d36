"""`RejectsFile`: rejected rows as a file to correct and feed back."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from anytrack_async.backfilling.report import REJECT_COLUMNS, Reject, SourceInfo
from anytrack_async.client.export_formats import with_escape
from anytrack_async.errors import ConfigurationError


class RejectsFile:
    """Rejected rows in the format, encoding and delimiter of their source.

    The columns are those of the source, then ``_line``, ``_column`` and ``_reason``. Once the rows
    are corrected, the file can be read as the original was: the three columns are ignored, and the
    apostrophes that keep a spreadsheet from running cells as formulas are removed.

    Only the file's owner may read it: it has customers' data. A source with another header gets a
    file of its own, ``rejects.2.csv``. Every method blocks.

    Args:
        path: path of the file; unless *resume_at* is given, it must be empty or not exist.
        resume_at: length of the file at the checkpoint, in bytes; the file is cut to that length.

    Raises:
        ConfigurationError: the file exists.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume_at: int | None = None) -> None:
        self._path = Path(path)
        self._resume_at = resume_at
        self._file: IO[bytes] | None = None
        self._header: tuple[str, ...] | None = None
        self._number = 1
        if resume_at is None and self._path.exists() and self._path.stat().st_size:
            raise ConfigurationError(
                f"{self._path.name} exists, and may have rows to correct: move it away, or name "
                "another file for rejected rows"
            )

    @property
    def path(self) -> str | None:
        """Path of the (first) file; None as long as no row was rejected."""
        return str(self._path) if self._header is not None or self._resume_at else None

    @property
    def length(self) -> int:
        """Bytes written so far, including those of an earlier run."""
        return self._file.tell() if self._file else self._resume_at or 0

    def write(self, rejects: Sequence[Reject], info: SourceInfo) -> None:
        """Append *rejects*, rows of the source that *info* describes."""
        columns = tuple(name for name in info.columns if name not in REJECT_COLUMNS)
        for reject in rejects:
            is_json = info.format in ("json", "jsonl")
            header = () if is_json else columns
            file = self._open(header, info)
            file.write(_json_lines(reject) if is_json else _csv_rows(reject, info))
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, header: tuple[str, ...], info: SourceInfo) -> IO[bytes]:
        if self._file is not None and header == self._header:
            return self._file
        path = self._path
        if self._file is not None:
            self._number += 1
            path = path.with_suffix(f".{self._number}{path.suffix}")
            self._file.close()
        # Opened by the system's call, so that other users cannot read it even for a moment.
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        start = (self._resume_at or 0) if self._number == 1 else 0
        self._file.truncate(start)
        self._file.seek(start)
        self._header = header
        if not start and header:
            self._file.write(_encoded([*header, *REJECT_COLUMNS], info, first=True))
        return self._file


def _csv_rows(reject: Reject, info: SourceInfo) -> bytes:
    rows = b""
    for number, row in enumerate(reject.rows or ((),)):
        cells = [
            with_escape("" if value is None else str(value))
            for name, value in zip(reject.columns, row, strict=False)
            if name not in REJECT_COLUMNS
        ]
        own = sum(name not in REJECT_COLUMNS for name in reject.columns)
        cells += [""] * (own - len(cells))
        reason = (reject.column, reject.reason) if not number else ("", "")
        # Cells that the header has no column for: without them, the row would pass, shifted.
        surplus = [with_escape(str(cell)) for cell in row[len(reject.columns) :]]
        rows += _encoded([*cells, str(reject.line), *reason, *surplus], info)
    return rows


_WITHOUT_MARK = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}


def _encoded(cells: Sequence[str], info: SourceInfo, *, first: bool = False) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=info.delimiter or ",").writerow(cells)
    encoding = info.encoding or "utf-8"
    if not first:  # only the first line has a byte order mark
        encoding = _WITHOUT_MARK.get(encoding, encoding)
    elif encoding in ("utf-16", "utf-32"):
        return ("\ufeff" + text.getvalue()).encode(_WITHOUT_MARK[encoding])
    errors = "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    try:
        return text.getvalue().encode(encoding, errors=errors)
    except UnicodeEncodeError:  # a reason has a character that the source's encoding has not
        return text.getvalue().encode(encoding, errors="replace")


def _json_lines(reject: Reject) -> bytes:
    lines = b""
    for row in reject.rows:
        pairs = zip(reject.columns, row, strict=False)
        record: dict[str, Any] = {name: value for name, value in pairs if value is not None}
        values = (reject.line, reject.column, reject.reason)
        record |= dict(zip(REJECT_COLUMNS, values, strict=True))
        lines += orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
    return lines
