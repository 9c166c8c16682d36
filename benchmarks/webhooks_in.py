"""Row 24: webhooks per second that `WebhookApp` answers on one core, into memory and on disk."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import orjson

from anytrack_async import AnyTrackClient, Conversion, MemoryOutbox, Outcome, SinkLimits, WebhookApp
from anytrack_async.listening.server import bind, serve
from benchmarks.machine import pin_server
from benchmarks.measure import Row

NUMBER = 24
NEEDS = ("uvicorn",)
MEMORY_TARGET, DISK_TARGET = 5_000, 2_000

_TASKS = 64
_CONNECTIONS = 32
_SECRET = "benchmark-secret-of-a-webhook"
_PATH = f"/hooks/{_SECRET}"


class Accepting:
    """A destination that accepts everything at once."""

    name = "accepting"
    limits = SinkLimits(batch=1_000)

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        return [Outcome.delivered()] * len(batch)


def run(quick: bool) -> Row:
    """Measure the application alone, then behind uvicorn with the load on another core."""
    count = 500 if quick else 5_000
    with tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / f"{number}.db" for number in range(2))
        memory = asyncio.run(_application(None, count))
        disk = asyncio.run(_application(next(files), count))
        # `anytrack listen` uses uvloop, if it is installed.
        loop = {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
        served = anyio.run(_served, None, count, backend_options=loop)
        served_disk = anyio.run(_served, next(files), count, backend_options=loop)
    return Row(
        number=NUMBER,
        measure="webhooks answered on one core: `WebhookApp` into memory, on disk (SQLite)",
        against="",
        target=f"≥ {MEMORY_TARGET:,}/s, ≥ {DISK_TARGET:,}/s",
        result=f"{memory:,.0f}/s, {disk:,.0f}/s",
        reached=memory >= MEMORY_TARGET and disk >= DISK_TARGET,
        details=(_details(served, served_disk),),
    )


def _details(memory: float, disk: float) -> str:
    parser = "httptools" if importlib.util.find_spec("httptools") else "h11"
    loop = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
    rates = f"into memory {memory:,.0f}/s, on disk {disk:,.0f}/s"
    return f"behind uvicorn with {parser} and {loop}: {rates}"


def _client(file: Path | None) -> AnyTrackClient:
    outbox = MemoryOutbox() if file is None else file
    # AnyTrack's address is never used: nothing is sent back there.
    return AnyTrackClient(
        "k", "a", base_url="http://127.0.0.1:9", sinks=[Accepting()], outbox=outbox, log=False
    )


def _bodies(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield orjson.dumps(
            {
                "assetId": "Ab12Cd34",
                "clientId": f"{number:014d}",
                "externalClientIds": {"googleAnalytics": "GA1.2.3.4"},
                "clickId": f"Ab12Cd34{number:014d}",
                "eventName": "Purchase",
                "eventTime": "2026-09-09T14:08:10.499Z",
                "eventTimestamp": 1788962890,
                "eventValue": 49.9,
                "currency": "EUR",
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox",
            }
        )


async def _application(file: Path | None, count: int) -> float:
    """Return requests per second of the application, called without a server."""
    async with _client(file) as client:
        app, bodies = WebhookApp(client, secret=_SECRET), _bodies(count)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_TASKS):
                tasks.create_task(_post_all(app, bodies))
        return count / (time.perf_counter() - began)


async def _post_all(app: WebhookApp, bodies: Iterator[bytes]) -> None:
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 200))

    for body in bodies:
        message = {"type": "http.request", "body": body, "more_body": False}

        async def receive(message: dict[str, Any] = message) -> dict[str, Any]:
            return message

        scope = {"type": "http", "method": "POST", "path": _PATH, "headers": _HEADERS}
        await app(scope, receive, send)
    if {*statuses} > {200}:
        raise RuntimeError(f"answers: {sorted({*statuses})}")


_HEADERS = [
    (b"host", b"hooks.test"),
    (b"user-agent", b"anytrack"),
    (b"accept", b"*/*"),
    (b"content-type", b"application/json"),
    (b"content-length", b"300"),
]


async def _served(file: Path | None, count: int) -> float:
    """Return requests per second behind uvicorn; another process on another core posts them."""
    async with _client(file) as client:
        app, listener = WebhookApp(client, secret=_SECRET), bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        serving = asyncio.create_task(serve(app, listener))
        load = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.webhooks_in", str(port), str(count),
            cwd=Path(__file__).parents[1], stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await load.communicate()
        serving.cancel()
        await asyncio.wait([serving])
        return count / float(output)


async def _load(port: int, count: int) -> float:
    """Post *count* webhooks to *port*; return the seconds."""
    bodies = _bodies(count)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(_CONNECTIONS):
            tasks.create_task(_post_over_socket(port, bodies))
    return time.perf_counter() - began


async def _post_over_socket(port: int, bodies: Iterator[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        head = f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(answer.decode())
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
    writer.close()


if __name__ == "__main__":
    pin_server()
    sys.stdout.write(str(asyncio.run(_load(*map(int, sys.argv[1:])))))
