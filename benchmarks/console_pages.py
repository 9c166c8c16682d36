"""Row 25: the first byte of each page of the console, of a file with a million conversions."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from statistics import median
from typing import Any

from anytrack_async import Conversion, FailedEntry, SQLiteOutbox, console
from benchmarks.measure import Row

NUMBER = 25
NEEDS = ("starlette", "jinja2")
TARGET, GROWTH_TARGET = 0.150, 2.0  # seconds, times

_BATCH = 1_000
_SAMPLES = 16
_REASONS = 20  # so that a page of one of them is full, also of the small file
_SMALL, _LARGE = 11_000, 1_100_000  # of which every eleventh is a dead letter

_PAGES = {
    "overview": "",
    "its charts": "trends",
    "dead letters": "dead-letters",
    "a page in their middle": "dead-letters?after={middle}",
    "those of a code": "dead-letters?destination=meta&code=E7",
    "those with some words": "dead-letters?text=REASON+h",
    "words that none has": "dead-letters?text=unheard+of",
    "the old ones, of which there are none": "dead-letters?older=1d",
    "the new ones": "dead-letters?newer=1h",
    "a delivered conversion": "conversion?event_id=sale:1",
    "the last delivered conversion": "conversion?event_id=sale:{last}",
    "a dead letter": "conversion?event_id=sale:0",
    "correcting it": "edit?event_id=sale:0",
    "an event id": "find#q=sale:1",
    "an order id": "find#q={last}",
    "a click id": "find#q=c{dead}",
    "a click id that is unknown": "find#q=unheard-of",
    "replaying those of a code": "replay#scope=all&code=E7",
    "conversions": "conversions",
    "settings": "settings",
}
"""Page → its address; what follows a ``#`` is posted."""


def run(quick: bool) -> Row:
    """Measure every page, of a small file and of a large one."""
    large = _SMALL if quick else _LARGE
    with tempfile.TemporaryDirectory() as folder:
        small_times = asyncio.run(_measure(Path(folder) / "small.db", _SMALL))
        times = asyncio.run(_measure(Path(folder) / "large.db", large))
    slowest = max(times, key=lambda name: times[name])
    growth = {name: times[name] / small_times[name] for name in times}
    fastest_growing = max(growth, key=lambda name: growth[name])
    return Row(
        number=NUMBER,
        measure="first byte of each page of the console: a million delivered, 100,000 dead letters",
        against="a hundredth of them",
        target=f"≤ {TARGET * 1_000:.0f} ms, ≤ {GROWTH_TARGET:g} ×",
        result=f"{times[slowest] * 1_000:.0f} ms ({slowest}), "
        f"{growth[fastest_growing]:.2f} × ({fastest_growing})",
        reached=times[slowest] <= TARGET and growth[fastest_growing] <= GROWTH_TARGET,
        details=tuple(
            f"{name}: {times[name] * 1_000:.1f} ms, {small_times[name] * 1_000:.1f} ms in the "
            f"small file ({growth[name]:.2f} ×)"
            for name in sorted(times, key=lambda name: times[name])
        ),
    )


async def _measure(path: Path, count: int) -> Mapping[str, float]:
    """Return page → the median of the seconds to its first byte, of a file with *count*."""
    outbox = SQLiteOutbox(path)
    await outbox.open(["meta"])
    for first in range(0, count, _BATCH):
        await outbox.append([_sale(number) for number in range(first, first + _BATCH)])
        claim = await outbox.claim("meta", _BATCH, 600)
        await outbox.settle(claim, [_failure(seq) for seq in claim.entries.seqs[::11]])
    await outbox.prune(remember=3_600)
    numbers = {"middle": count // 2, "last": count - 3, "dead": (count - 1) // 11 * 11}
    times: dict[str, list[float]] = {name: [] for name in _PAGES}
    for name, address in _PAGES.items():
        for _ in range(_SAMPLES):
            # A new application each time: nothing that it has read before helps it.
            app = console(outbox, admin=lambda _: True)
            times[name].append(await _first_byte(app, address.format(**numbers)))
    await outbox.aclose()
    return {name: median(samples[3:]) for name, samples in times.items()}


def _sale(number: int) -> Conversion:
    return Conversion.sale(
        order_id=str(number), revenue="49.90", click_id=f"c{number}", source=f"source {number % 9}"
    )


def _failure(seq: int) -> FailedEntry:
    kind = seq % _REASONS
    return FailedEntry(seq=seq, attempts=3, error=f"reason {chr(97 + kind)}", code=f"E{kind}")


async def _first_byte(app: Any, address: str) -> float:
    address, _, form = address.partition("#")
    path, _, query = address.partition("?")
    scope = {
        "type": "http",
        "method": "POST" if form else "GET",
        "path": f"/{path}",
        "raw_path": f"/{path}".encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"sec-fetch-site", b"same-origin"),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"content-length", str(len(form)).encode()),
        ],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "server": ("localhost", 80),
        "http_version": "1.1",
    }
    seen: list[float] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] not in (200, 303, 404):
            raise RuntimeError(f"{address}: {message['status']}")
        if message["type"] == "http.response.body" and not seen:
            seen.append(time.perf_counter())

    body = [{"type": "http.request", "body": form.encode(), "more_body": False}]

    async def receive() -> Any:
        return body.pop() if body else await asyncio.sleep(3_600)

    began = time.perf_counter()
    await app(scope, receive, send)
    return seen[0] - began
