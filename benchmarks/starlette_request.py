"""Row 13: the time that ``await client.submit()`` adds to a request of a Starlette application."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from anytrack_async import AnyTrackClient, Outbox
from benchmarks.measure import Row
from benchmarks.server import running
from benchmarks.shop import client, conversion, meta_sink, record

NUMBER = 13
NEEDS = ("starlette",)

App = Callable[..., Awaitable[None]]


def run(quick: bool) -> Row:
    """Compare handlers that make a conversion; only one of each pair submits it."""
    count = 200 if quick else 2_000
    with running() as server, tempfile.TemporaryDirectory() as folder:
        memory = asyncio.run(_added(server.url, None, count))
        sqlite = asyncio.run(_added(server.url, Path(folder) / "outbox.db", count))
        busy = asyncio.run(_added(server.url, None, count, pause=0.0))
    return Row(
        number=NUMBER,
        measure="what `await submit()` adds to a Starlette request (memory, SQLite)",
        against="the same handler without",
        target="p50 ≤ 0.1 ms, ≤ 3 ms",
        result=f"p50 + {memory:.3f} ms, + {sqlite:.2f} ms",
        reached=memory <= 0.1 and sqlite <= 3,
        details=(
            f"memory, without a pause between requests: {busy:+.3f} ms; deliveries then overlap",
        ),
    )


async def _added(url: str, outbox: Outbox | Path | None, count: int, pause: float = 0.002) -> float:
    """Return the milliseconds that submitting adds to the median of *count* requests.

    Between two requests the application rests for *pause* seconds, in which the conversion is
    delivered.
    """
    async with client(url, sinks=[meta_sink(url)], outbox=outbox) as tracker:
        app = _app(tracker)
        durations: dict[str, list[float]] = {"/plain": [], "/submitted": []}
        for number in range(count):
            for path, times in durations.items():
                times.append(await _request(app, path, number))
                await asyncio.sleep(pause)
    return (median(durations["/submitted"]) - median(durations["/plain"])) * 1e3


def _app(tracker: AnyTrackClient) -> App:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def plain(request: Request) -> JSONResponse:
        sale = conversion(record(int(request.query_params["n"])))
        return JSONResponse({"id": sale.event_id})

    async def submitted(request: Request) -> JSONResponse:
        sale = conversion(record(int(request.query_params["n"])))
        delivery = await tracker.submit(sale, to=["meta"])
        return JSONResponse({"id": delivery.event_id})

    return Starlette(routes=[Route("/plain", plain), Route("/submitted", submitted)])


async def _request(app: App, path: str, number: int) -> float:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"n=%d" % number,
        "headers": [],
        "root_path": "",
        "scheme": "http",
        "server": ("shop.test", 80),
    }
    began = time.perf_counter()
    await app(scope, _receive, _send)
    return time.perf_counter() - began


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_: Any) -> None:
    await asyncio.sleep(0)
