"""Row 5: single posts to AnyTrack, 32 in flight, against httpx by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

import httpx
import orjson

from anytrack_async import Conversion
from anytrack_async.destinations.anytrack.payload import to_payload
from benchmarks.measure import Row, interleaved, rates
from benchmarks.ours import deliver
from benchmarks.server import Server, running
from benchmarks.shop import client, conversions

NUMBER = 5
NEEDS = ()
IN_FLIGHT = 32
FEW = 1_500  # posts are enough to measure a slow contender


def run(quick: bool) -> Row:
    """Compare posts a second."""
    sales = list(conversions(1_000 if quick else 5_000))
    bodies = [orjson.dumps(to_payload(sale)) for sale in sales]
    with running() as server:
        costs = interleaved(
            {
                "anytrack_async": partial(ours, server, sales),
                "httpx, 32 connections": partial(_httpx, server, bodies[:FEW], IN_FLIGHT),
                "httpx, 8 connections": partial(_httpx, server, bodies[:FEW], 8),
                "httpx with its defaults": partial(_httpx, server, bodies[:FEW], None),
            },
            rounds=3,
        )
    theirs = min(costs["httpx, 32 connections"], costs["httpx with its defaults"])
    ratio = theirs.wall / costs["anytrack_async"].wall
    fewer = costs["httpx, 8 connections"].wall / costs["anytrack_async"].wall
    return Row(
        number=NUMBER,
        measure="AnyTrack single posts/s, 32 in flight, plain install",
        against="`httpx.AsyncClient.post`, 32 in flight",
        target="≥ 4 ×",
        result=f"{ratio:.1f} × ({fewer:.1f} × where httpx is kept to 8 connections)",
        reached=ratio >= 4,
        details=rates(costs, "posts"),
    )


async def ours(server: Server, sales: Sequence[Conversion], **options: object) -> int:
    """Submit *sales* and deliver them to AnyTrack."""
    return await deliver(client(server.url, **options), sales)  # type: ignore[arg-type]


async def _httpx(server: Server, bodies: Sequence[bytes], connections: int | None) -> int:
    limits = httpx.Limits(max_connections=connections) if connections else httpx.Limits()
    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    async with httpx.AsyncClient(headers=headers, limits=limits) as http:

        async def work(queue: Iterator[bytes]) -> None:
            for body in queue:
                response = await http.post(f"{server.url}/v1/conversions", content=body)
                assert response.json()["status"] == "success"

        queue = iter(bodies)
        await asyncio.gather(*(work(queue) for _ in range(IN_FLIGHT)))
    return len(bodies)
