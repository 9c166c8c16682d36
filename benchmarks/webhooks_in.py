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
_CONNECTIONS = 64
_SECRET = "benchmark-secret-of-a-webhook"
_PATH = f"/hooks/{_SECRET}"


class Accepting:
    """A destination that accepts everything at once."""

    name = "accepting"
    limits = SinkLimits(batch=1_000)

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        return [Outcome.delivered()] * len(batch)


def run(quick: bool) -> Row:
    """Measure the application behind uvicorn, with the load on another core, and alone."""
    count = 500 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / f"{number}.db" for number in range(2))
        # `anytrack listen` uses uvloop, if it is installed.
        loop = {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
        bare = anyio.run(_served, _bare, count, backend_options=loop)
        memory = anyio.run(_served_webhooks, None, count, backend_options=loop)
        disk = anyio.run(_served_webhooks, next(files), count, backend_options=loop)
        alone = asyncio.run(_application(None, count))
        alone_disk = asyncio.run(_application(next(files), count))
    return Row(
        number=NUMBER,
        measure=f"webhooks answered on one core behind {_server()}: `WebhookApp` into memory, on "
        "disk (SQLite)",
        against="an application that answers and does nothing, behind the same server",
        target=f"≥ {MEMORY_TARGET:,}/s, ≥ {DISK_TARGET:,}/s",
        result=f"{memory:,.0f}/s, {disk:,.0f}/s ({memory / bare:.2f} ×, {disk / bare:.2f} ×)",
        reached=memory >= MEMORY_TARGET and disk >= DISK_TARGET,
        details=(
            f"an application that does nothing: {bare:,.0f}/s",
            f"without a server: into memory {alone:,.0f}/s, on disk {alone_disk:,.0f}/s",
        ),
    )


def _server() -> str:
    parser = "httptools" if importlib.util.find_spec("httptools") else "h11"
    loop = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
    return f"uvicorn, {parser} and {loop}"


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


async def _bare(_: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


async def _served_webhooks(file: Path | None, count: int) -> float:
    async with _client(file) as client:
        return await _served(WebhookApp(client, secret=_SECRET), count)


async def _served(app: Any, count: int) -> float:
    """Return requests per second behind uvicorn; another process on another core posts them."""
    listener = bind("127.0.0.1", 0)
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
    head = f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: "
    requests = iter([f"{head}{len(body)}\r\n\r\n".encode() + body for body in _bodies(count)])
    loop = asyncio.get_running_loop()
    posters = [_Poster(requests) for _ in range(_CONNECTIONS)]
    began = time.perf_counter()
    await asyncio.gather(
        *(loop.create_connection(lambda p=poster: p, "127.0.0.1", port) for poster in posters)
    )
    await asyncio.gather(*(poster.ended for poster in posters))
    return time.perf_counter() - began


class _Poster(asyncio.Protocol):
    """Posts on one connection: the next request once the answer is there.

    Streams would cost more than the server that is measured.
    """

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._answer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._post()

    def _post(self) -> None:
        if (request := next(self._requests, None)) is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self.ended.set_exception(RuntimeError(self._answer.decode()))
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(body) == length:
            self._answer = b""
            self._post()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc) if exc else self.ended.set_result(None)


if __name__ == "__main__":
    pin_server()
    sys.stdout.write(str(asyncio.run(_load(*map(int, sys.argv[1:])))))
