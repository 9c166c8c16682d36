"""Row 6: single posts with the ``[speed]`` extra, against aiohttp by itself; both on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import orjson

from anytrack_async import HttpSettings
from anytrack_async.destinations.anytrack.payload import to_payload
from benchmarks.measure import Row, interleaved, rates
from benchmarks.posts import IN_FLIGHT, ours
from benchmarks.server import Server, running
from benchmarks.shop import conversions

NUMBER = 6
NEEDS = ("aiohttp", "uvloop")


def run(quick: bool) -> Row:
    """Compare posts a second."""
    import uvloop

    sales = list(conversions(1_000 if quick else 5_000))
    bodies = [orjson.dumps(to_payload(sale)) for sale in sales]
    speed = HttpSettings(engine="aiohttp")
    with running() as server:
        costs = interleaved(
            {
                "anytrack_async, engine aiohttp": partial(ours, server, sales, http=speed),
                "anytrack_async, plain engine": partial(ours, server, sales),
                "aiohttp": partial(_aiohttp, server, bodies),
                "aiohttp at its best": partial(_best, server, bodies),
            },
            rounds=5,
            loop=uvloop.new_event_loop,
        )
    engine = costs["anytrack_async, engine aiohttp"].wall
    share, best = costs["aiohttp"].wall / engine, costs["aiohttp at its best"].wall / engine
    plain = costs["aiohttp"].wall / costs["anytrack_async, plain engine"].wall
    return Row(
        number=NUMBER,
        measure="the same with `[speed]`",
        against="aiohttp, 32 in flight",
        target="≥ 0.8 ×",
        result=f"{share:.2f} × ({best:.2f} × aiohttp at its best; plain engine {plain:.2f} ×)",
        reached=share >= 0.8,
        details=rates(costs, "posts"),
    )


async def _aiohttp(server: Server, bodies: Sequence[bytes]) -> int:
    """As in its documentation."""
    import aiohttp

    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as http:

        async def work(queue: Iterator[bytes]) -> None:
            for body in queue:
                async with http.post(f"{server.url}/v1/conversions", data=body) as response:
                    assert (await response.json())["status"] == "success"

        await _run_tasks(work, bodies)
    return len(bodies)


async def _best(server: Server, bodies: Sequence[bytes]) -> int:
    """No time-outs, cookies, redirects or URL parsing, and orjson for the response."""
    import aiohttp
    from yarl import URL

    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    url = URL(f"{server.url}/v1/conversions")
    async with aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
    ) as http:

        async def work(queue: Iterator[bytes]) -> None:
            for body in queue:
                response = await http.post(url, data=body, allow_redirects=False)
                assert orjson.loads(await response.read())["status"] == "success"

        await _run_tasks(work, bodies)
    return len(bodies)


async def _run_tasks(
    work: Callable[[Iterator[bytes]], Awaitable[None]], bodies: Sequence[bytes]
) -> None:
    queue = iter(bodies)
    await asyncio.gather(*(work(queue) for _ in range(IN_FLIGHT)))
