"""Files of dead letters: written by `anytrack outbox export`, corrected, read by `edit --file`.

A line of JSON, or a row of CSV, has the fields of a `Conversion` and a note with the reasons, which
is ignored when the file is read. In CSV, fields with several values are JSON text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyio import to_thread

from anytrack_async.client.dead_letters import NOTE, export_rows
from anytrack_async.client.export import write_file
from anytrack_async.client.export_formats import Formatter, with_escape, without_escape
from anytrack_async.errors import ConfigurationError, InvalidConversionError
from anytrack_async.models.conversion import ARGUMENTS, Conversion
from anytrack_async.models.plain import as_json, parse_json, to_conversion
from anytrack_async.outbox.dead_letters import DeadLetter

_Row = dict[str, Any]

_COLUMNS = (*ARGUMENTS, NOTE)


# Writing


async def export_letters(letters: AsyncGenerator[DeadLetter, None], path: Path) -> int:
    """Write the conversions of *letters* to a file that only its owner may read.

    Args:
        letters: dead letters in log order.
        path: the file, ``.jsonl`` or ``.csv``; it appears complete or not at all.

    Returns:
        The number of conversions.

    Raises:
        ConfigurationError: the suffix is another one.
        OSError: the file cannot be written.
    """
    return await write_file(export_rows(letters), path, _FORMATS)


def _jsonl(rows: Sequence[_Row], _: bool) -> bytes:
    return "".join(f"{as_json(row)}\n" for row in rows).encode()


def _csv(rows: Sequence[_Row], first: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if first:
        writer.writerow(_COLUMNS)
    writer.writerows([_cell(row.get(name)) for name in _COLUMNS] for row in rows)
    return text.getvalue().encode(errors="replace")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return with_escape(value if isinstance(value, str) else as_json(value))


_FORMATS: Mapping[str, Formatter[_Row]] = {"jsonl": _jsonl, "csv": _csv}


# Reading


async def read_corrections(path: Path) -> list[Conversion]:
    """Return the conversions in a file that `export_letters` wrote and a person has corrected.

    Raises:
        ConfigurationError: it cannot be read, or a line is no valid conversion with an event id;
            the message has the number of the line and the field, never a value.
    """
    return await to_thread.run_sync(_read_file, path)


def _read_file(path: Path) -> list[Conversion]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        problem = getattr(exc, "strerror", None) or "it is not text in UTF-8"
        raise ConfigurationError(f"cannot read {path}: {problem}") from None
    read = _read_csv if path.suffix.lower() == ".csv" else _read_jsonl
    conversions: list[Conversion] = []
    lines = read(text)
    number = 0
    try:
        for number, record in lines:  # noqa: B007 - for the message
            conversions.append(_conversion(record))
    except (InvalidConversionError, csv.Error) as exc:
        raise ConfigurationError(f"{path}, line {number}: {exc}; nothing was changed") from None
    return conversions


def _read_jsonl(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def _read_csv(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in reader:
        cells = {name: without_escape(cell) for name, cell in row.items() if name and cell}
        yield reader.line_num, cells


def _conversion(record: Any) -> Conversion:
    if isinstance(record, str):
        record = parse_json(record)
    if isinstance(record, Mapping) and not record.get("event_id"):
        raise InvalidConversionError(
            "event_id", "is missing: it says which conversion is corrected"
        )
    return to_conversion(record)
