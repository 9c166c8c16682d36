"""A server that is never the bottleneck: bare HTTP/1.1, in a process and on a core of its own.

It replies with each vendor's success response, after an optional delay, and counts the events it
receives.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import orjson

from benchmarks.machine import pin_server

_LENGTH = b"content-length:"
_RECEIVED: Counter[str] = Counter()


class Vendor(NamedTuple):
    """How one vendor's requests are recognised, counted and answered."""

    name: str
    marker: bytes  # occurs once per event in a body
    answer: Callable[[bytes, int], bytes]


def _fixed(body: bytes) -> Callable[[bytes, int], bytes]:
    return lambda _, __: body


def _meta(_: bytes, count: int) -> bytes:
    return b'{"events_received":%d,"messages":[],"fbtrace_id":"A0"}' % count


def _hubspot(body: bytes, _: int) -> bytes:
    inputs = orjson.loads(body)["inputs"]
    timestamp = "2026-01-02T03:04:05.678Z"
    if inputs and "from" in inputs[0]:
        results = [{**input_, "associationSpec": {"associationTypeId": 3}} for input_ in inputs]
    else:
        results = [
            {
                "id": str(number),
                "properties": input_.get("properties", {}),
                "createdAt": timestamp,
                "updatedAt": timestamp,
                "archived": False,
                "new": True,
                "objectWriteTraceId": input_.get("objectWriteTraceId"),
            }
            for number, input_ in enumerate(inputs, 1)
        ]
    return orjson.dumps(
        {"status": "COMPLETE", "startedAt": timestamp, "completedAt": timestamp, "results": results}
    )


_OURS = Vendor("anytrack", b"event_id", _fixed(b'{"status":"success","conversion_id":"conv_1"}'))
_VENDORS = {
    b"/v1/conversions": _OURS,
    b"/events": Vendor("meta", b"event_name", _meta),
    b"/upsert": Vendor("hubspot", b"idProperty", _hubspot),
    b"/associate": Vendor("links", b'"from"', _hubspot),
    b"/batch/": Vendor("posthog", b"distinct_id", _fixed(b'{"status":1}')),
    b"/v1/batch": Vendor("segment", b'"messageId"', _fixed(b'{"success":true}')),
    b"/2/httpapi": Vendor("amplitude", b'"event_type"', _fixed(b'{"code":200}')),
    b"/tp2": Vendor("snowplow", b'"eid"', _fixed(b"ok")),
}


def _vendor(path: bytes) -> Vendor:
    path = path.partition(b"?")[0]
    for end, vendor in _VENDORS.items():
        if end in path:
            return vendor
    return _OURS


class Connection(asyncio.Protocol):
    """One connection: reads `Content-Length` bodies and stays open."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._head = b""
        self._chunks: list[bytes] = []
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head, data = self._head[:end], self._head[end + 4 :]
            self._missing = _length(self._head)
        self._chunks.append(data)
        self._missing -= len(data)
        if self._missing <= 0:
            head, body = self._head, b"".join(self._chunks)
            self._head, self._chunks, self._missing = b"", [], 0
            self._reply(head.split(b" ", 2)[1], body)

    def _reply(self, path: bytes, body: bytes) -> None:
        if path == b"/received":
            self._send(orjson.dumps(_RECEIVED))
            return
        vendor = _vendor(path)
        count = body.count(vendor.marker)
        _RECEIVED[vendor.name] += count
        _RECEIVED[f"{vendor.name} requests"] += 1
        answer = vendor.answer(body, count)
        if self._delay:
            self._loop.call_later(self._delay, self._send, answer)
        else:
            self._send(answer)

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )


def _length(head: bytes) -> int:
    start = head.lower().find(_LENGTH)
    return int(head[start + len(_LENGTH) :].split(b"\r\n", 1)[0]) if start >= 0 else 0


async def _serve(delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(delay), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the parent closes it


class Server(NamedTuple):
    """A running server."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def received(self) -> dict[str, int]:
        """Return vendor → events received, and ``"<vendor> requests"`` → requests."""
        with urlopen(f"{self.url}/received") as response:
            return json.load(response)


@contextmanager
def running(delay: float = 0.0) -> Iterator[Server]:
    """Run a server in its own process that answers after *delay* seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", str(delay)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server(int(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


if __name__ == "__main__":
    pin_server()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(float(sys.argv[1])))
    else:
        uvloop.run(_serve(float(sys.argv[1])))
