"""Row 7: what one request costs as connections grow from 8 to 128."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import httpx

from anytrack_async import AnyTrackSettings, HttpSettings
from anytrack_async.destinations.anytrack.settings import anytrack_session
from benchmarks.measure import Row, interleaved, rates
from benchmarks.server import Server, running

NUMBER = 7
NEEDS = ()
SIZES = (8, 16, 32, 64, 128)
BODY = b'{"click_id":"c","conversion_type":"sale","revenue":9.9,"currency":"EUR"}'


def run(quick: bool) -> Row:
    """Compare processor time; httpx with as many connections is shown for comparison."""
    count = 1_000 if quick else 6_000
    with running() as server:
        runs = {f"{size} connections": partial(_ours, server, count, size) for size in SIZES}
        theirs = {f"httpx, {size}": partial(_httpx, server, count // 4, size) for size in (8, 128)}
        costs = interleaved({**runs, **theirs}, rounds=3)
    first = costs[f"{SIZES[0]} connections"].cpu
    growth = max(costs[f"{size} connections"].cpu / first for size in SIZES) - 1
    httpx_growth = costs["httpx, 128"].cpu / costs["httpx, 8"].cpu - 1
    return Row(
        number=NUMBER,
        measure="cost per request as connections grow 8 → 128",
        against="itself",
        target="flat within 15 %",
        result=f"{growth:+.0%} (httpx: {httpx_growth:+.0%})",
        reached=growth <= 0.15,
        details=rates(costs, "requests"),
    )


async def _ours(server: Server, count: int, size: int) -> int:
    settings = AnyTrackSettings(
        api_key="key",
        account_id="account",
        base_url=f"{server.url}/v1",
        http=HttpSettings(connections=size),
    )
    session = anytrack_session(settings)

    async def work(numbers: Iterator[int]) -> None:
        for _ in numbers:
            assert (await session.send("POST", "conversions", content=BODY)).success

    numbers = iter(range(count))
    await asyncio.gather(*(work(numbers) for _ in range(size)))
    await session.aclose()
    return count


async def _httpx(server: Server, count: int, size: int) -> int:
    limits = httpx.Limits(max_connections=size, max_keepalive_connections=size)
    async with httpx.AsyncClient(limits=limits) as http:

        async def work(numbers: Iterator[int]) -> None:
            for _ in numbers:
                await http.post(f"{server.url}/v1/conversions", content=BODY)

        numbers = iter(range(count))
        await asyncio.gather(*(work(numbers) for _ in range(size)))
    return count
