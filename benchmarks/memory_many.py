"""Row 11: memory of a million conversions through `track_many`, against ten thousand."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks.child import run_in_process
from benchmarks.machine import memory
from benchmarks.measure import Row
from benchmarks.server import running
from benchmarks.shop import client, conversions, meta_sink

NUMBER = 11
NEEDS = ()


def run(quick: bool) -> Row:
    """Compare peaks, each in a fresh process."""
    few, many = 10_000, 50_000 if quick else 1_000_000
    with running() as server:
        small = run_in_process("memory_many", "peak", server.url, few)
        large = run_in_process("memory_many", "peak", server.url, many)
    grown = large[0] - small[0]
    return Row(
        number=NUMBER,
        measure=f"memory, {many:,} conversions through `track_many`, SQLite outbox",
        against="ten thousand",
        target="+ ≤ 40 MiB",
        result=f"+ {grown:.0f} MiB",
        reached=grown <= 40,
        details=tuple(
            f"{count:,}: peak {peak:.0f} MiB, {count / seconds:,.0f} conversions/s"
            for count, (peak, seconds) in ((few, small), (many, large))
        ),
    )


def peak(url: str, count: int) -> tuple[float, float]:
    """Return the peak in MiB, and the seconds it took."""

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        with tempfile.TemporaryDirectory() as folder:
            outbox = Path(folder) / "outbox.db"
            async with client(url, sinks=[meta_sink(url)], outbox=outbox) as tracker:
                delivered = 0
                async for report in tracker.track_many(conversions(count), to=["meta"]):
                    delivered += report.delivered
            assert delivered == count
        return asyncio.get_running_loop().time() - began

    seconds = asyncio.run(main())
    return memory(), seconds
