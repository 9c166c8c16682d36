"""Golden files: for each file in `tests/data/backfill`, what reading it gives.

`NAME.csv` has `NAME.expected.jsonl`, the conversions as plain data, and `NAME.report.json`: preset,
settings, counts, and rejected rows. After a wanted change, write them anew and read the difference:

    python -m tests.backfilling.golden
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from anytrack_async import BackfillSettings
from tests.backfilling.tables import GOLDEN, Result, read

NAMES = sorted(
    path.name
    for path in GOLDEN.iterdir()
    if not path.name.endswith((".expected.jsonl", ".report.json"))
    and not path.name.startswith("refused-")
)
REFUSED = sorted(path.name for path in GOLDEN.glob("refused-*"))
WITHOUT_HEADER = {
    "voluum.csv": "voluum",
    "clickflare.csv": "clickflare",
    "binom.txt": "binom",
}
WITH_HEADER = [name for name in NAMES if name not in WITHOUT_HEADER and not name.endswith(".jsonl")]

Table = list[list[str]]


def _stem(name: str) -> Path:
    return GOLDEN / name.rpartition(".")[0]


def report_of(name: str) -> dict[str, Any]:
    """The report beside the golden file *name*; empty if there is none yet."""
    path = _stem(name).with_suffix(".report.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def expected_of(name: str) -> list[dict[str, Any]]:
    """The conversions that the golden file *name* has, as plain data."""
    text = _stem(name).with_suffix(".expected.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def settings_of(name: str) -> BackfillSettings:
    """The settings that the report of *name* states."""
    fields = dict(report_of(name).get("settings", {}))
    if "timestamp" in fields:
        fields["timestamp"] = datetime.fromisoformat(fields["timestamp"])
    if "contacts" in fields:
        fields["contacts"] = GOLDEN / fields["contacts"]
    return BackfillSettings(**fields)


async def read_golden(name: str, path: Path | None = None) -> Result:
    """Read *path*, by default the golden file *name*, with the settings of *name*."""
    return await read(
        path or GOLDEN / name, settings=settings_of(name), preset=WITHOUT_HEADER.get(name)
    )


def as_report(result: Result) -> dict[str, Any]:
    """What the report has about *result*."""
    return {
        "preset": result.presets[0],
        "rows": result.counts.rows,
        "folded": result.counts.folded,
        "refunds": result.counts.refunds,
        "skipped": result.counts.skipped,
        "rejects": [
            {"line": reject.line, "column": reject.column, "reason": reject.reason}
            for reject in result.rejects
        ],
    }


def as_plain(result: Result) -> list[dict[str, Any]]:
    """The conversions of *result* as plain data, with the event id."""
    plain = []
    for conversion in result.conversions:
        record = json.loads(conversion.to_json())
        plain.append({"event_id": conversion.event_id, **record})
    return plain


def _write(name: str) -> None:
    settings = report_of(name).get("settings", {})
    result = asyncio.run(read_golden(name))
    lines = [json.dumps(record, ensure_ascii=False) for record in as_plain(result)]
    _stem(name).with_suffix(".expected.jsonl").write_text(
        "".join(f"{line}\n" for line in lines), encoding="utf-8"
    )
    report = {"settings": settings, **as_report(result)}
    _stem(name).with_suffix(".report.json").write_text(
        json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )


def load(name: str) -> tuple[str, Table]:
    """The lines above the header, and header and rows, of a golden file."""
    content = (GOLDEN / name).read_bytes()
    encoding = "utf-8-sig"
    if content[:2] == b"\xff\xfe":
        encoding = "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    head = ""
    if text.startswith("Parameters:"):
        head, _, text = text.partition("\n")
        head += "\n"
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    return head, [
        row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
    ]


def to_text(table: Table, *, delimiter: str = ",", end: str = "\r\n") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(table)
    return text.getvalue()


if __name__ == "__main__":
    for golden in NAMES:
        _write(golden)
