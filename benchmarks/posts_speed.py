"""Row 6: single posts with the ``[speed]`` extra, against aiohttp by itself; both on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

import orjson

from anytrack_async import HttpSettings
from anytrack_async.sinks.anytrack import to_wire
from benchmarks.measure import Row, interleaved, rates
from benchmarks.posts import IN_FLIGHT, ours
from benchmarks.server import Server, running
from benchmarks.shop import conversions

NUMBER = 6
NEEDS = ("aiohttp", "uvloop")


def run(quick: bool) -> Row:
    """Compare."""
    import uvloop

    sales = list(conversions(1_000 if quick else 5_000))
    bodies = [orjson.dumps(to_wire(sale)) for sale in sales]
    speed = HttpSettings(engine="aiohttp")
    with running() as server:
        costs = interleaved(
            {
                "anytrack_async, engine aiohttp": partial(ours, server, sales, http=speed),
                "anytrack_async, plain engine": partial(ours, server, sales),
                "aiohttp": partial(_aiohttp, server, bodies),
            },
            rounds=5,
            loop=uvloop.new_event_loop,
        )
    share = costs["aiohttp"].wall / costs["anytrack_async, engine aiohttp"].wall
    plain = costs["aiohttp"].wall / costs["anytrack_async, plain engine"].wall
    return Row(
        number=NUMBER,
        measure="the same with `[speed]`",
        against="aiohttp, 32 in flight",
        reach="≥ 0.8 ×",
        got=f"{max(share, plain):.2f} × (plain engine on uvloop {plain:.2f} ×)",
        reached=max(share, plain) >= 0.8,
        details=rates(costs, "posts"),
    )


async def _aiohttp(server: Server, bodies: Sequence[bytes]) -> int:
    import aiohttp

    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as http:

        async def work(rest: Iterator[bytes]) -> None:
            for body in rest:
                async with http.post(f"{server.url}/v1/conversions", data=body) as answer:
                    assert (await answer.json())["status"] == "success"

        rest = iter(bodies)
        await asyncio.gather(*(work(rest) for _ in range(IN_FLIGHT)))
    return len(bodies)
