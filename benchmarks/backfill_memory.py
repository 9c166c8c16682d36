"""Row 21: memory of a back-fill of a million rows in every format, against ten thousand."""

from __future__ import annotations

import anyio

from anytrack_async import BackfillSettings, backfill
from anytrack_async.backfilling.presets.registry import find_preset
from benchmarks.child import run_in_process
from benchmarks.machine import memory
from benchmarks.measure import Row
from benchmarks.orders import orders_file

NUMBER = 21
NEEDS = ("pyarrow",)
FORMATS = ("csv", "jsonl", "json", "parquet")


def run(quick: bool) -> Row:
    """Compare peaks, each in a fresh process."""
    few, many = 10_000, 50_000 if quick else 1_000_000
    grown = {}
    for form in FORMATS:
        peaks = []
        for count in (few, many):
            with orders_file(count, form) as path:
                peaks.append(run_in_process("backfill_memory", "peak", str(path)))
        grown[form] = peaks[1] - peaks[0]
    worst = max(grown.values())
    return Row(
        number=NUMBER,
        measure=f"memory, a dry run over {many:,} rows in every format",
        against="ten thousand rows",
        target="+ ≤ 40 MiB",
        result=f"+ {worst:.0f} MiB",
        reached=worst <= 40,
        details=tuple(f"{form}: + {size:.0f} MiB" for form, size in grown.items()),
    )


def peak(path: str) -> float:
    """Return the peak in MiB of a dry run over *path*."""

    async def main() -> None:
        settings = BackfillSettings(dry_run=True)
        await backfill(None, path, mapping=find_preset("shopify"), settings=settings)

    anyio.run(main)
    return memory()
