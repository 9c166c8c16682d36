from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import anyio
import httpx
import pytest
from anyio.streams.tls import TLSAttribute

from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.connection import (
    Connection,
    _load_context,
    readable_events,
    tls_context,
)
from anytrack_async.transport.message import Request, Response, TotalTimeout
from anytrack_async.transport.session import Session
from tests.transport.raw_server import ServerConnection, echo, response_bytes, serving

pytestmark = pytest.mark.asyncio

GET = Request("anytrack", "GET", "https://api.test:8443/v1/a?q=%20", {"Accept": "text/plain"})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Wire:
    """A byte stream with fixed pieces, which then ends."""

    def __init__(self, *pieces: bytes | Exception, sending: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.sending = sending
        self.sent: list[bytes] = []
        self.closed = False

    def extra(self, *_: object) -> None:
        return None

    async def send(self, data: bytes) -> None:
        self.sent.append(data)
        if self.sending:
            raise self.sending

    async def receive(self, max_bytes: int) -> bytes:
        if not self.pieces:
            raise anyio.EndOfStream
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        self.closed = True


def connection(wire: Wire, timeout: float = 5.0) -> Connection:
    return Connection(wire, timeout=timeout)  # type: ignore[arg-type]


async def exchange(wire: Wire, request: Request = GET) -> tuple[Response, Connection]:
    used = connection(wire)
    return await used.exchange(request, anyio.current_time() + 10), used


async def test_a_request_is_sent_in_one_piece():
    wire = Wire(OK)
    await exchange(wire, GET._replace(method="POST", content=b"body"))

    (sent,) = wire.sent
    assert sent == (
        b"POST /v1/a?q=%20 HTTP/1.1\r\nHost: api.test:8443\r\nAccept: text/plain\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )


@pytest.mark.parametrize(
    ("method", "content", "sent"),
    [("GET", None, False), ("POST", None, True), ("POST", b"", True), ("DELETE", None, False)],
)
async def test_the_length_is_sent_where_a_body_is_expected(
    method: str, content: bytes | None, sent: bool
):
    wire = Wire(OK)
    await exchange(wire, GET._replace(method=method, content=content))

    assert (b"Content-Length: 0\r\n" in wire.sent[0]) is sent


async def test_a_response_in_pieces_is_put_together():
    wire = Wire(*(OK[index : index + 1] for index in range(len(OK))))
    response, used = await exchange(wire)

    assert (response.status, response.content, response.service) == (200, b"{}", "anytrack")
    assert response.headers["CONTENT-length"] == "2"
    assert used.reusable


@pytest.mark.parametrize(
    "data",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfor me",
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 200 OK\r\n\r\n{}",
    ],
)
async def test_a_connection_with_surplus_or_unframed_data_is_not_used_again(data: bytes):
    response, used = await exchange(Wire(data))

    assert response.content == b"{}"
    assert not used.reusable


@pytest.mark.parametrize("failure", [anyio.BrokenResourceError, anyio.ClosedResourceError, OSError])
async def test_a_response_is_read_though_sending_failed(failure: type[Exception]):
    response, used = await exchange(Wire(OK, sending=failure()))

    assert response.status == 200
    assert not used.reusable


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (anyio.BrokenResourceError(), httpx.ReadError),
        (ConnectionResetError(), httpx.ReadError),
        (b"", httpx.RemoteProtocolError),
        (b"SSH-2.0\r\n\r\n", httpx.RemoteProtocolError),
        (OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), httpx.DecodingError),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_without_a_response_an_error_of_httpx_is_raised(
    data: bytes | Exception, kind: type[Exception]
):
    used = connection(Wire(data))
    with pytest.raises(kind):
        await used.exchange(GET, anyio.current_time() + 10)

    assert not used.reusable


async def test_a_request_that_is_not_http_is_not_sent():
    wire = Wire(OK)
    with pytest.raises(httpx.LocalProtocolError):
        await exchange(wire, GET._replace(headers={"Authorization": "a\r\nb"}))

    assert wire.sent == []


class Hanging(Wire):
    """A stream on which sending, or receiving, never ends."""

    def __init__(self, *pieces: bytes, sends: bool) -> None:
        super().__init__(*pieces)
        self.sends = sends

    async def send(self, data: bytes) -> None:
        if not self.sends:
            await anyio.sleep_forever()

    async def receive(self, max_bytes: int) -> bytes:
        return await super().receive(max_bytes) if self.pieces else await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("make", "timeout", "total", "kind"),
    [
        (lambda: Hanging(sends=False), 0.01, 9, httpx.WriteTimeout),
        (lambda: Hanging(sends=True), 0.01, 9, httpx.ReadTimeout),
        (lambda: Hanging(OK[:-1], sends=True), 0.01, 9, httpx.ReadTimeout),
        (lambda: Hanging(OK[:-1], sends=True), 9, 0.01, TotalTimeout),
        (lambda: Hanging(sends=False), 9, 0.01, TotalTimeout),
    ],
)
async def test_every_step_of_an_exchange_times_out(
    make: Callable[[], Wire], timeout: float, total: float, kind: type[Exception]
):
    used = connection(make(), timeout)
    with pytest.raises(kind) as caught:
        await used.exchange(GET, anyio.current_time() + total)

    assert type(caught.value) is kind
    assert not used.reusable


async def test_closing_closes_the_stream():
    wire = Wire()
    await connection(wire).aclose()

    assert wire.closed


@pytest.mark.parametrize("has_poll", [True, False])
async def test_bytes_and_the_end_of_a_peer_are_readable(
    has_poll: bool, monkeypatch: pytest.MonkeyPatch
):
    if not has_poll:
        monkeypatch.delattr("select.poll")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        events = readable_events(ours)
        idle = bool(events())
        theirs.send(b"x")
        sent = bool(events())
        ours.recv(1)
        read = bool(events())
        theirs.close()

        assert (idle, sent, read, bool(events())) == (False, True, False, True)


# TLS

CERTIFICATE = Path(__file__).parent / "certificates" / "localhost.pem"
HTTP = HttpSettings(timeout=5)


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_the_context_is_loaded_once_in_a_worker_thread(monkeypatch: pytest.MonkeyPatch):
    threads: list[int] = []
    create = httpx.create_ssl_context

    def spy() -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return create()

    monkeypatch.setattr(httpx, "create_ssl_context", spy)
    _load_context.cache_clear()
    contexts: list[ssl.SSLContext] = []

    async def load() -> None:
        contexts.append(await tls_context())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(load)

    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    assert len({id(context) for context in contexts}) == 1


async def test_only_http_1_1_is_offered(monkeypatch: pytest.MonkeyPatch):
    offered: list[list[str]] = []

    class Context(ssl.SSLContext):
        def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
            offered.append(list(alpn_protocols))

    with monkeypatch.context() as patch:
        patch.setattr(httpx, "create_ssl_context", lambda: Context(ssl.PROTOCOL_TLS_CLIENT))
        _load_context.cache_clear()
        await tls_context()
    _load_context.cache_clear()

    assert offered == [["http/1.1"]]


async def test_a_missing_ca_file_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", "no-such-file.pem")
    _load_context.cache_clear()
    session = Session("anytrack", "https://api.test", headers={}, http=HTTP)

    with pytest.raises(ConfigurationError, match="cannot load the CA certificates"):
        await session.send("GET", "a")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert await tls_context()


async def test_the_context_verifies():
    context = await tls_context()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_an_untrusted_server_gets_no_request(engine: Literal["plain", "aiohttp"]):
    async with serving(context=server_context()) as server:
        http = HttpSettings(timeout=5, engine=engine)
        session = Session("anytrack", server.url, headers={}, http=http)
        with pytest.raises(TransportError, match="certificate verify failed"):
            await session.send("POST", "conversions", content=b"{}")
        await session.aclose()

    assert server.requests == []


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def context() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(CERTIFICATE))

    monkeypatch.setattr("anytrack_async.transport.pool.tls_context", context)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_requests_to_a_trusted_server_go_over_tls(engine: Literal["plain", "aiohttp"]):
    async with serving(echo, server_context()) as server:
        http = HttpSettings(timeout=5, engine=engine)
        session = Session("anytrack", server.url, headers={}, http=http)
        for _ in range(3):
            answered = await session.send("POST", "conversions", content=b"x" * 200_000)
            assert answered.content == b"x" * 200_000
        await session.aclose()
        await server.all_closed()

    assert server.connections == 1


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_second_response_in_another_tls_record_answers_no_request(
    engine: Literal["plain", "aiohttp"],
):
    async def two(connection: ServerConnection, head: bytes, body: bytes) -> None:
        connection.stream.extra(TLSAttribute.ssl_object).write(OK)  # sent with what follows
        await connection.send(response_bytes(b'{"conversion_id": "of another"}'))

    async with serving(two, server_context()) as server:
        http = HttpSettings(timeout=5, engine=engine)
        session = Session("anytrack", server.url, headers={}, http=http)
        for _ in range(3):
            assert (await session.send("POST", "conversions", content=b"{}")).content == b"{}"
        await session.aclose()

    assert server.connections == 3


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_tls_handshake_times_out(engine: Literal["plain", "aiohttp"]):
    async def silent(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, silent)
        http = HttpSettings(timeout=0.05, engine=engine)
        session = Session("anytrack", f"https://localhost:{port}", headers={}, http=http)
        with pytest.raises(TransportError, match=r"no connection to \S+ within 0\.05 s"):
            await session.send("GET", "a")
        await session.aclose()
        tasks.cancel_scope.cancel()
    await listener.aclose()
