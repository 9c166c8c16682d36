"""Row 10: memory and refused conversions when the server takes a second to answer."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from benchmarks import trackers
from benchmarks.child import run_in_process
from benchmarks.machine import memory
from benchmarks.measure import Row
from benchmarks.server import running
from benchmarks.shop import client, conversion, meta_sink, record

NUMBER = 10
NEEDS = ("posthog", "segment.analytics", "amplitude", "snowplow_tracker")
DELAY = 1.0
PEERS = ("posthog", "segment", "amplitude", "snowplow")


def run(quick: bool) -> Row:
    """Compare, each in a fresh process, which submits as fast as the tracker accepts."""
    count = 20_000 if quick else 500_000
    with running(DELAY) as server:
        ours = run_in_process("memory_slow", "ours", server.url, count)
        peers = {
            name: run_in_process("memory_slow", "peer", name, server.url, count) for name in PEERS
        }
    theirs = ", ".join(
        f"{name} + {result['grown']:,.0f} MiB and {result['refused'] / count:.0%} refused"
        for name, result in peers.items()
    )
    return Row(
        number=NUMBER,
        measure=f"memory, {count:,} submits into a server answering after 1 s",
        against="posthog, segment, amplitude, snowplow",
        target="≤ + 30 MiB and zero refused",
        result=f"+ {ours['grown']:.0f} MiB, {ours['refused']} refused ({theirs})",
        reached=ours["grown"] <= 30 and not ours["refused"],
        details=(
            _line("anytrack_async", ours),
            *(_line(name, result) for name, result in peers.items()),
        ),
    )


def _line(name: str, result: dict[str, Any]) -> str:
    return (
        f"{name}: + {result['grown']:.0f} MiB, {result['refused']:,} of {result['submitted']:,} "
        f"refused, {result['seconds']:.0f} s"
    )


def ours(url: str, count: int) -> dict[str, Any]:
    """Submit *count* sales, made one at a time; `submit` waits while the outbox is full."""

    async def main(count: int) -> int:
        sink = meta_sink(url)
        async with client(url, sinks=[sink]) as tracker:
            for number in range(count):
                await tracker.submit(conversion(record(number)), to=["meta"])
        return 0  # `submit` would have raised for a refused sale

    asyncio.run(main(1))  # imports and connects before the measurement
    return _grown(count, lambda: asyncio.run(main(count)))


def peer(name: str, url: str, count: int) -> dict[str, Any]:
    """Pass *count* sales to a tracker, without waiting until they are sent."""
    track = getattr(trackers, name)
    logging.disable()
    track(url, (), wait=False)
    return _grown(count, lambda: count - track(url, map(record, range(count)), wait=False))


def _grown(count: int, work: Any) -> dict[str, Any]:
    warm = memory("VmRSS")
    began = time.perf_counter()
    refused = work()
    seconds = time.perf_counter() - began
    grown = memory("VmHWM") - warm
    return {"grown": grown, "refused": refused, "submitted": count, "seconds": seconds}
