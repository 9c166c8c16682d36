"""Reads the responses of `hostile_server` in a process of its own, and reports what they cost.

``python -m tests.transport.hostile_client URL ENGINE`` prints a JSON object: name of the response →
error, and the growth of memory in bytes and the longest turn of the event loop in seconds.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from anytrack_async.errors import ServiceError
from anytrack_async.settings.http import HttpSettings, ResponseLimits, Retry
from anytrack_async.transport.session import Session
from tests.transport.hostile_server import NEEDS_FILTER, RESPONSES


def open_session(url: str, engine: str) -> Session:
    """Return a session that reads by *engine*, or through an injected transport of httpx."""
    http = HttpSettings(
        timeout=20,
        engine="aiohttp" if engine == "aiohttp" else "plain",
        retry=Retry(attempts=3, base=0.001),
        limits=ResponseLimits(max_seconds=20),
    )
    transport = httpx.AsyncHTTPTransport() if engine == "httpx" else None
    return Session("anytrack", url, headers={}, http=http, transport=transport)


@asynccontextmanager
async def longest_turn() -> AsyncIterator[list[float]]:
    """Measure the longest turn of the event loop, in seconds of this thread's CPU time.

    CPU time does not depend on what else the machine does.
    """
    turns = [0.0]

    async def watch() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            turns[0], last = max(turns[0], now - last), now

    watcher = asyncio.create_task(watch())
    try:
        yield turns
    finally:
        watcher.cancel()


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024


async def measure(session: Session, name: str) -> dict[str, Any]:
    """Read the response called *name* and return what it cost."""
    before = peak_memory()
    error = ""
    async with longest_turn() as turns:
        try:
            await session.get(name)
        except ServiceError as exc:
            error = f"{type(exc).__name__}: {exc}"
    return {"error": error, "memory": peak_memory() - before, "turn": turns[0]}


async def main(url: str, engine: str) -> None:
    """Measure all responses."""
    session = open_session(url, engine)
    for _ in range(3):
        await session.get("normal")  # imports, buffers
    names = [name for name in RESPONSES if engine != "httpx" or name not in NEEDS_FILTER]
    results = {name: await measure(session, name) for name in names}
    await session.aclose()
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
