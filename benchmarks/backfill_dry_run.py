"""Row 19: a dry run over Shopify's export, against `csv.DictReader` alone."""

from __future__ import annotations

import csv
from pathlib import Path

from anytrack_async import BackfillSettings, backfill
from benchmarks.measure import Row, interleaved, rates
from benchmarks.orders import orders_file

NUMBER = 19
NEEDS = ()


def run(quick: bool) -> Row:
    """Compare the time over the same file."""
    count = 20_000 if quick else 1_000_000
    with orders_file(count) as path:
        costs = interleaved(
            {"csv.DictReader": lambda: _read(path), "dry run": lambda: _dry_run(path)},
            1 if count > 100_000 else 3,
        )
    ratio = costs["dry run"].cpu / costs["csv.DictReader"].cpu
    return Row(
        number=NUMBER,
        measure=f"a dry run over {count:,} rows in Shopify's shape",
        against="`csv.DictReader` alone",
        target="≤ 6 × its time",
        result=f"{ratio:.1f} ×",
        reached=ratio <= 6,
        details=rates(costs, "rows"),
    )


def _read(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


async def _dry_run(path: Path) -> int:
    report = await backfill(None, path, settings=BackfillSettings(dry_run=True))
    return report.counts.rows
