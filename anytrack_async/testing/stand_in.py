"""`ServiceStandIn`: an HTTP service on a free port of this machine, which answers as a test says.

It runs in the test's own event loop. So a sink that blocks the loop while it waits for an answer
never gets one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import attrs
import orjson
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

_MAX_HEAD = 65_536
_CONNECTION_ENDED = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)


@attrs.frozen(kw_only=True)
class ServiceRequest:
    """A request that a sink has sent.

    Attributes:
        method: e.g. ``"POST"``.
        path: with the query.
        headers: name in small letters → value.
        content: the body.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON; None if it has none."""
        return orjson.loads(self.content) if self.content else None


@attrs.frozen(kw_only=True)
class ServiceAnswer:
    """The answer of a service to one request.

    Attributes:
        status: the status code.
        body: text, bytes, or an object that is sent as JSON.
        headers: further headers.
        hangs_up: closes the connection instead of answering.
        never_comes: neither answers nor closes the connection.
    """

    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    hangs_up: bool = False
    never_comes: bool = False

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else orjson.dumps(self.body)


class ServiceStandIn:
    """A service that answers each request with the result of a function.

    Attributes:
        url: the service's address, without a slash at the end.
        answer: the function, called with each request; replace it at any time.
        requests: the requests that have arrived, oldest first.
    """

    def __init__(self, answer: Callable[[ServiceRequest], ServiceAnswer]) -> None:
        self.url = ""
        self.answer = answer
        self.requests: list[ServiceRequest] = []
        self._arrival = anyio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve inside the block."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"  # noqa: S610 - of anyio
        async with listener, anyio.create_task_group() as tg:
            tg.start_soon(listener.serve, self._serve)
            yield self
            tg.cancel_scope.cancel()

    async def wait_for_requests(self, count: int) -> None:
        """Wait until *count* requests have arrived."""
        while len(self.requests) < count:
            await self._arrival.wait()

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            received = BufferedByteReceiveStream(stream)
            try:
                while await self._serve_one(stream, received):
                    pass
            except _CONNECTION_ENDED:
                return

    async def _serve_one(self, stream: SocketStream, received: BufferedByteReceiveStream) -> bool:
        """Answer one request; return whether the connection stays open."""
        request = await _read(received)
        self.requests.append(request)
        self._arrival.set()
        self._arrival = anyio.Event()
        answer = self.answer(request)
        if answer.hangs_up:
            return False
        if answer.never_comes:
            await anyio.sleep_forever()
        content = answer.content
        headers = {
            "content-type": "application/json",
            **answer.headers,
            "content-length": str(len(content)),
        }
        lines = [f"HTTP/1.1 {answer.status} -", *(f"{key}: {headers[key]}" for key in headers)]
        await stream.send("\r\n".join([*lines, "", ""]).encode() + content)
        return True


async def _read(received: BufferedByteReceiveStream) -> ServiceRequest:
    head = await received.receive_until(b"\r\n\r\n", _MAX_HEAD)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        content = await _read_chunks(received)
    else:
        content = await received.receive_exactly(int(headers.get("content-length", "0")))
    return ServiceRequest(method=method, path=path, headers=headers, content=content)


async def _read_chunks(received: BufferedByteReceiveStream) -> bytes:
    chunks = []
    while size := int((await received.receive_until(b"\r\n", 1_024)).split(b";")[0], 16):
        chunks.append(await received.receive_exactly(size))
        await received.receive_exactly(2)
    await received.receive_until(b"\r\n", 1_024)
    return b"".join(chunks)
