"""The contract of `Engine`, tested with every engine over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import traceback
import zlib
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from anytrack_async.settings.http import HttpSettings, ResponseLimits
from anytrack_async.transport.aiohttp import AiohttpEngine
from anytrack_async.transport.httpx import HttpxEngine
from anytrack_async.transport.message import Engine, LimitExceeded, Request, Response, TotalTimeout
from anytrack_async.transport.pool import Pool
from tests.transport.conftest import Names
from tests.transport.raw_server import (
    Handler,
    RawServer,
    ServerConnection,
    close,
    cut_body,
    cut_head,
    drip,
    echo,
    garbage,
    reset,
    respond,
    response_bytes,
    serving,
    silence,
)

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = b"Content-Length: 2\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
_MANY = b"".join(b"X-%d: a\r\n" % number for number in range(300))

ACCEPTED = {
    # name → (response, whether the connection is used again)
    "header names in lower case": (OK + SIZED.lower() + b"\r\n{}", True),
    "header names in upper case": (OK + SIZED.upper() + b"\r\n{}", True),
    "no reason": (b"HTTP/1.1 200\r\n" + SIZED + b"\r\n{}", True),
    "line feeds alone": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", True),
    "whitespace around a value": (OK + b"Content-Length:\t2 \t\r\n\r\n{}", True),
    "zeros before a length": (OK + b"Content-Length: 0002\r\n\r\n{}", True),
    "bytes above 127 in a header": (OK + SIZED + b"X: \xe9\xff\r\n\r\n{}", True),
    "300 headers": (OK + _MANY + SIZED + b"\r\n{}", True),
    "the same header twice": (OK + SIZED + b"Server: a\r\nServer: b\r\n\r\n{}", True),
    "30 informational responses": (b"HTTP/1.1 102 W\r\n\r\n" * 30 + OK + SIZED + b"\r\n{}", True),
    "an unknown status": (b"HTTP/1.1 999 Odd\r\n" + SIZED + b"\r\n{}", True),
    "an upgrade that is offered": (OK + SIZED + b"Upgrade: h2c\r\n\r\n{}", True),
    "chunks in upper case": (OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
    "chunk extensions": (CHUNKED + b'2;a="b";; c\r\n{}\r\n0;x\r\n\r\n', True),
    "spaces after a chunk's size": (CHUNKED + b"02  \r\n{}\r\n0\r\n\r\n", True),
    "chunks of one byte": (CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", True),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\nX-A: b\r\nno trailer\r\n\r\n", True),
    "an empty response": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "a folded header": (OK + b"X: a\r\n b\r\n\tc\r\nContent-Length:\r\n 2\r\n\r\n{}", True),
    "the same length twice": (OK + SIZED * 2 + b"\r\n{}", True),
    "the same length in a list": (OK + b"Content-Length: 2, 2\r\n\r\n{}", True),
    "no headers": (b"HTTP/1.1 200 OK\r\n\r\n{}", False),
    "no length": (OK + b"Content-Type: a/b\r\n\r\n{}", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + SIZED + b"\r\n{}", False),
    "HTTP/1.0 without length": (b"HTTP/1.0 200 OK\r\n\r\n{}", False),
}
SURPLUS = {
    "another response": (OK + SIZED + b"\r\n{}") * 2,
    "bytes that are not HTTP": OK + SIZED + b"\r\n{}garbage\x00\xff",
    "an empty line": OK + SIZED + b"\r\n{}\r\n",
    "bytes behind chunks": CHUNKED + b"2\r\n{}\r\n0\r\n\r\ngarbage",
    "a body after 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
    "chunks after 204": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
EMPTY = frozenset(("an empty response", "a body after 204", "chunks after 204"))

REFUSED = {
    "two lengths": OK + SIZED + b"Content-Length: 3\r\n\r\n{}x",
    "two lengths in a list": OK + b"Content-Length: 2, 3\r\n\r\n{}x",
    "a length with a plus": OK + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": OK + b"Content-Length: -2\r\n\r\n{}",
    "a length of 5,000 digits": OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n{}",
    "an empty length": OK + b"Content-Length:\r\n\r\n{}",
    "an unknown transfer coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n{}",
    "a chunk's size that is no number": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk that is too long": CHUNKED + b"2\r\n{}XX0\r\n\r\n",
    "no last chunk": CHUNKED + b"2\r\n{}\r\n",
    "no end of the last chunk": CHUNKED + b"2\r\n{}\r\n0\r\n",
    "a body that is cut off": OK + b"Content-Length: 3\r\n\r\n{}",
    "a header without colon": OK + SIZED + b"X\r\n\r\n{}",
    "a space before a colon": OK + b"Content-Length : 2\r\n\r\n{}",
    "a header without name": OK + SIZED + b": x\r\n\r\n{}",
    "a null byte in a header": OK + SIZED + b"X: a\x00b\r\n\r\n{}",
    "a carriage return in a header": OK + SIZED + b"X: a\rb\r\n\r\n{}",
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 Odd\r\n" + SIZED + b"\r\n{}",
    "a status of four digits": b"HTTP/1.1 2000 Odd\r\n" + SIZED + b"\r\n{}",
    "an empty line before the response": b"\r\n" + OK + SIZED + b"\r\n{}",
}


@pytest.mark.asyncio
class EngineContract:
    """Every promise of `Engine` as a test; a subclass says how to `make` one.

    Attributes:
        most_left: connections that may stay open after eight concurrent requests, some of which
            were cancelled.
    """

    most_left = 8

    def make(
        self, url: str, http: HttpSettings, *, total_timeout: float | None, keepalive: float
    ) -> Engine:
        """Return a new engine for requests to *url*; all times are in seconds."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(
        self,
        handler: Handler = respond,
        *,
        timeout: float = 5.0,
        total_timeout: float | None = None,
        keepalive: float = 15.0,
        host: str = "127.0.0.1",
        **limits: int,
    ) -> AsyncIterator[tuple[Engine, RawServer]]:
        """Run a server and an engine, which must leave no connection open."""
        async with serving(handler) as server:
            http = HttpSettings(timeout=timeout, limits=ResponseLimits(**limits))
            url = server.url.replace("127.0.0.1", host)
            engine = self.make(url, http, total_timeout=total_timeout, keepalive=keepalive)
            try:
                yield engine, server
            finally:
                await engine.aclose()
                await server.all_closed()

    # Requests and responses

    async def test_request_line_headers_and_body_are_sent_as_given(self) -> None:
        async with self.running() as (engine, server):
            headers = dict.fromkeys(_SESSION_HEADERS, "x") | {"Authorization": "Bearer t"}
            url = f"{server.url}/a%2Fb/%C3%B6%25?q=%C3%BC%26%2B"
            await engine.exchange(Request("anytrack", "POST", url, headers, b'{"x":1}'))

        _, head, body = server.requests[0]
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /a%2Fb/%C3%B6%25?q=%C3%BC%26%2B HTTP/1.1"
        assert sorted(lines[1:]) == [
            b"Accept-Encoding: x",
            b"Accept: x",
            b"Authorization: Bearer t",
            b"Content-Length: 7",
            b"Content-Type: x",
            f"Host: {server.url.removeprefix('http://')}".encode(),
            b"User-Agent: x",
        ]
        assert body == b'{"x":1}'

    async def test_a_response_has_status_headers_and_body(self) -> None:
        async def created(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"[1]", 201, "X-Request-ID: r1"))

        async with self.running(created) as (engine, server):
            response = await engine.exchange(_request(server, b"{}"))

        assert (response.status, response.content) == (201, b"[1]")
        assert response.headers["x-REQUEST-id"] == "r1"
        assert (response.service, response.request_content) == ("anytrack", b"{}")

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
    async def test_a_request_without_body_declares_it_where_one_is_expected(
        self, method: str
    ) -> None:
        async with self.running() as (engine, server):
            await engine.exchange(_request(server, None, method))

        assert (b"Content-Length: 0" in server.requests[0][1]) is (method != "GET")

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_048_576, 1_048_577, 3_000_000])
    async def test_a_body_of_any_size_is_sent_and_read_whole(self, size: int) -> None:
        async with self.running(echo, max_reply=3_000_000) as (engine, server):
            response = await engine.exchange(_request(server, b"x" * size))

        assert response.content == b"x" * size
        assert f"Content-Length: {size}".encode() in server.requests[0][1].split(b"\r\n")

    async def test_a_chunked_response_after_an_informational_one_is_read(self) -> None:
        async def chunked(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk in (b"3\r\n[1,\r\n", b"2\r\n2]\r\n", b"0\r\n\r\n"):
                await anyio.wait_all_tasks_blocked()
                await connection.send(chunk)

        async with self.running(chunked) as (engine, server):
            contents = [(await engine.exchange(_request(server))).content for _ in range(2)]

            assert contents == [b"[1,2]", b"[1,2]"]
            assert server.connections == 1

    async def test_a_header_of_90_kb_is_read(self) -> None:
        async def long(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"{}", 200, f"X-Long: {'x' * 90_000}"))

        async with self.running(long) as (engine, server):
            response = await engine.exchange(_request(server))

        assert len(response.headers["x-long"]) == 90_000

    async def test_a_compressed_body_is_decompressed(self) -> None:
        async def compressed(connection: ServerConnection, head: bytes, body: bytes) -> None:
            content = gzip.compress(b"[1]")
            await connection.send(response_bytes(content, 200, "Content-Encoding: gzip"))

        async with self.running(compressed) as (engine, server):
            assert (await engine.exchange(_request(server))).content == b"[1]"

    async def test_a_body_that_was_compressed_twice_may_have_two_headers(self) -> None:
        async def compressed(connection: ServerConnection, head: bytes, body: bytes) -> None:
            content = gzip.compress(zlib.compress(b"[1]"))
            codings = ("Content-Encoding: deflate", "Content-Encoding: gzip")
            await connection.send(response_bytes(content, 200, *codings))

        async with self.running(compressed) as (engine, server):
            assert (await engine.exchange(_request(server))).content == b"[1]"

    async def test_redirects_are_not_followed_and_cookies_not_kept(self) -> None:
        async def redirect(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"{}", 307, "Location: /b", "Set-Cookie: a=b"))

        async with self.running(redirect) as (engine, server):
            # Cookie jars ignore the cookies of an IP address.
            url = server.url.replace("127.0.0.1", "localhost")
            for _ in range(2):
                request = Request("anytrack", "POST", f"{url}/a", {}, b"{}")
                assert (await engine.exchange(request)).status == 307

        assert len(server.requests) == 2
        assert b"cookie" not in server.requests[1][1].lower()

    async def test_a_request_that_is_not_http_is_not_sent(self) -> None:
        async with self.running() as (engine, server):
            with pytest.raises(httpx.LocalProtocolError):
                await engine.exchange(_request(server, headers={"Authorization": "a\r\nX: y"}))

            assert server.requests == []

    # Connections

    async def test_sequential_requests_share_a_connection(self) -> None:
        async with self.running() as (engine, server):
            for _ in range(10):
                await engine.exchange(_request(server, b"{}"))

            assert (server.connections, len(server.requests)) == (1, 10)

    async def test_concurrent_requests_have_a_connection_each_which_is_used_again(self) -> None:
        async def wait_for_five(connection: ServerConnection, head: bytes, body: bytes) -> None:
            if len(server.requests) % 5 == 0:
                barrier.set()
            await barrier.wait()
            await connection.send(response_bytes())

        async with self.running(wait_for_five) as (engine, server):
            for _ in range(3):
                barrier = anyio.Event()
                await _send_concurrently(engine, server, 5)

            assert server.connections == 5

    async def test_a_connection_that_the_server_closed_is_replaced(self) -> None:
        async def respond_and_close(connection: ServerConnection, head: bytes, body: bytes) -> bool:
            await connection.send(response_bytes())
            return True

        async with self.running(respond_and_close) as (engine, server):
            for _ in range(3):
                assert (await engine.exchange(_request(server, b"{}"))).status == 200
                await server.all_closed()
                for _ in range(10):  # the event loop polls its sockets once per iteration
                    await anyio.lowlevel.checkpoint()

            assert server.connections == 3

    async def test_connection_close_is_obeyed(self) -> None:
        async def last(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"{}", 200, "Connection: close"))

        async with self.running(last) as (engine, server):
            for _ in range(3):
                await engine.exchange(_request(server))

            assert server.connections == 3

    async def test_a_connection_that_idled_for_too_long_is_not_used_again(self) -> None:
        async with self.running(keepalive=0.02) as (engine, server):
            await engine.exchange(_request(server))
            await anyio.sleep(0.1)
            await engine.exchange(_request(server))

            assert server.connections == 2
            await server.all_closed(remaining=1)

    # Failures

    @pytest.mark.parametrize("failure", [reset, close, cut_body, cut_head, garbage])
    async def test_a_broken_response_is_an_error_and_ends_its_connection(
        self, failure: Handler
    ) -> None:
        async def handler(connection: ServerConnection, head: bytes, body: bytes) -> bool | None:
            return await (failure if broken else respond)(connection, head, body)

        broken = True
        async with self.running(handler) as (engine, server):
            for _ in range(3):
                with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as caught:
                    await engine.exchange(_request(server, b"{}"))
                assert failure is reset or caught.type is httpx.RemoteProtocolError
            broken = False

            assert (await engine.exchange(_request(server, b"{}"))).status == 200
            assert server.connections == 4

    async def test_a_refused_connection_is_a_connect_error_with_its_reason(self) -> None:
        engine = self.make(UNUSED, HttpSettings(timeout=5), total_timeout=None, keepalive=15)
        with pytest.raises(httpx.ConnectError, match=r"[Cc]onnect"):
            await engine.exchange(Request("anytrack", "GET", UNUSED, {}))
        await engine.aclose()

    async def test_no_error_quotes_the_query(self) -> None:
        engine = self.make(UNUSED, HttpSettings(timeout=5), total_timeout=None, keepalive=15)
        with pytest.raises(httpx.ConnectError) as caught:
            await engine.exchange(Request("anytrack", "GET", f"{UNUSED}/?email={_EMAIL}", {}))
        await engine.aclose()

        assert _EMAIL not in "".join(traceback.format_exception(caught.value))

    async def test_a_server_that_sends_nothing_is_a_read_timeout(self) -> None:
        async with self.running(silence, timeout=0.1) as (engine, server):
            with pytest.raises(httpx.ReadTimeout) as caught:
                await engine.exchange(_request(server))

            assert caught.type is httpx.ReadTimeout
            await server.all_closed()

    async def test_a_server_that_sends_too_slowly_is_a_total_timeout(self) -> None:
        async with self.running(drip, timeout=0.1, total_timeout=0.3) as (engine, server):
            with pytest.raises(TotalTimeout):
                await engine.exchange(_request(server))

            await server.all_closed()

    async def test_a_server_that_reads_nothing_is_a_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            engine = self.make(url, HttpSettings(timeout=0.2), total_timeout=0.4, keepalive=15)
            with pytest.raises(httpx.TimeoutException):
                await engine.exchange(Request("anytrack", "POST", url, {}, b"x" * 30_000_000))
            await engine.aclose()

    # Limits

    async def test_a_body_at_its_limit_is_read_and_one_over_it_is_not(self) -> None:
        async def sized(connection: ServerConnection, head: bytes, body: bytes) -> None:
            size = 1_000 + (head.startswith(b"GET") and 1_000)
            await connection.send(response_bytes(b"x" * (size + over)))

        async with self.running(sized, max_body=2_000, max_reply=1_000) as (engine, server):
            for content, size in ((None, 2_000), (b"{}", 1_000)):
                over = 0
                assert len((await engine.exchange(_request(server, content))).content) == size
                over = 1
                with pytest.raises(LimitExceeded, match=f"={size}"):
                    await engine.exchange(_request(server, content))
                await server.all_closed()

    async def test_a_body_that_is_announced_too_large_is_not_waited_for(self) -> None:
        async def announced(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n")

        async with self.running(announced) as (engine, server):
            with pytest.raises(LimitExceeded, match="max_body"):
                await engine.exchange(_request(server))
            await server.all_closed()

    async def test_a_compressed_body_is_cut_off_while_it_arrives(self) -> None:
        async def bomb(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
            await connection.send(gzip.compress(bytes(10_000_000))[:9_000])

        async with self.running(bomb) as (engine, server):
            with pytest.raises(LimitExceeded, match="max_body"):
                await engine.exchange(_request(server))
            await server.all_closed()

    async def test_an_engine_is_usable_after_a_response_over_a_limit(self) -> None:
        async def handler(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"x" * size))

        async with self.running(handler, max_reply=100) as (engine, server):
            size = 101
            for _ in range(3):
                with pytest.raises(LimitExceeded):
                    await engine.exchange(_request(server, b"{}"))
            size = 100

            assert (await engine.exchange(_request(server, b"{}"))).status == 200
            assert server.connections == 4

    # Cancellation

    async def test_a_cancelled_request_closes_its_connection(self) -> None:
        async def handler(connection: ServerConnection, head: bytes, body: bytes) -> None:
            if server.open == 2:
                arrived.set()
            await (silence if silent else respond)(connection, head, body)

        silent = True
        async with self.running(handler) as (engine, server):
            for _ in range(3):
                arrived = anyio.Event()
                async with anyio.create_task_group() as tasks:
                    for _ in range(2):
                        tasks.start_soon(engine.exchange, _request(server))
                    await arrived.wait()
                    tasks.cancel_scope.cancel()
                await server.all_closed()
            silent = False

            assert (await engine.exchange(_request(server))).status == 200

    async def test_an_engine_is_usable_after_a_cancellation_at_any_moment(self) -> None:
        async with self.running() as (engine, server):
            for step in range(60):
                with anyio.move_on_after(step / 20_000):
                    await _send_concurrently(engine, server, 8)
            with anyio.fail_after(5):
                await _send_concurrently(engine, server, 8)
            for _ in range(5):
                assert (await engine.exchange(_request(server))).status == 200

            await server.all_closed(remaining=self.most_left)

    async def test_an_engine_is_usable_after_asyncio_cancelled_its_tasks(self) -> None:
        """Web frameworks cancel a task by asyncio, without a cancel scope."""
        async with self.running() as (engine, server):
            for step in range(40):
                tasks = [asyncio.create_task(_send(engine, server)) for _ in range(8)]
                await asyncio.sleep(step / 10_000)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            with anyio.fail_after(5):
                await _send_concurrently(engine, server, 8)

            await server.all_closed(remaining=self.most_left)


UNUSED = "http://127.0.0.1:9"
"""A URL at which nothing listens."""

_EMAIL = "ada@example.com"
_SESSION_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # always sent


def _request(
    server: RawServer,
    content: bytes | None = None,
    method: str = "",
    headers: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Request:
    method = method or ("GET" if content is None else "POST")
    url = server.url.replace("127.0.0.1", host)
    return Request("anytrack", method, f"{url}/a", headers or {}, content)


async def _send(engine: Engine, server: RawServer) -> Response:
    return await engine.exchange(_request(server))


async def _send_concurrently(engine: Engine, server: RawServer, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(engine.exchange, _request(server))


@cache
def context() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class FilteringEngineContract(EngineContract):
    """The promises of our own engines, which httpx's pool does not make.

    They filter what a server sends, and look up hosts in threads of their own.
    """

    @pytest.mark.parametrize("name", [*ACCEPTED])
    async def test_an_unusual_response_is_read(self, name: str) -> None:
        data, keeps = ACCEPTED[name]

        async def unusual(connection: ServerConnection, head: bytes, body: bytes) -> bool:
            await connection.send(data)
            return not keeps

        async with self.running(unusual) as (engine, server):
            for _ in range(3):
                response = await engine.exchange(_request(server, b"{}"))
                assert response.content == (b"" if name in EMPTY else b"{}")
                if not keeps:
                    await server.all_closed()

            assert server.connections == (1 if keeps else 3)

    @pytest.mark.parametrize("name", [*SURPLUS])
    async def test_bytes_behind_a_response_end_its_connection(self, name: str) -> None:
        async def surplus(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(SURPLUS[name])

        async with self.running(surplus) as (engine, server):
            for _ in range(3):
                response = await engine.exchange(_request(server, b"{}"))
                assert response.content == (b"" if name in EMPTY else b"{}")

            assert server.connections == 3

    async def test_a_second_response_is_not_taken_for_the_next_one(self) -> None:
        received, sent = threading.Event(), threading.Event()

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                connections.append(connection)
                connection.recv(65_536)
                connection.sendall(response_bytes(b"first"))
                received.wait(5)
                connection.sendall(response_bytes(b"second"))
                sent.set()

        connections: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve)
            thread.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            engine = self.make(url, HttpSettings(timeout=5), total_timeout=None, keepalive=15)
            contents = []
            for _ in range(2):
                request = Request("anytrack", "POST", url, {}, b"{}")
                contents.append((await engine.exchange(request)).content)
                received.set()
                sent.wait(5)  # blocks the event loop, which must not read the second one by itself
            await engine.aclose()
            thread.join(5)
        for connection in connections:
            connection.close()

        assert contents == [b"first", b"first"]

    @pytest.mark.parametrize("name", [*REFUSED])
    async def test_an_invalid_response_is_an_error_and_ends_its_connection(self, name: str) -> None:
        async def invalid(connection: ServerConnection, head: bytes, body: bytes) -> bool:
            await connection.send(REFUSED[name])
            return True

        async with self.running(invalid) as (engine, server):
            for _ in range(2):
                with pytest.raises(httpx.RemoteProtocolError):
                    await engine.exchange(_request(server, b"{}"))

            assert server.connections == 2

    # Look-ups of hosts

    async def test_a_look_up_that_hangs_holds_up_nothing_else(self, names: Names) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        names.ips["good.test"] = ["127.0.0.1"]
        names.hang("hung.test")
        async with (
            self.running(host="hung.test") as (hung, server),
            self.running(host="good.test") as (good, good_server),
            anyio.create_task_group() as tasks,
        ):
            for _ in range(3):
                tasks.start_soon(hung.exchange, _request(server, host="hung.test"))
            await names.all_asked("hung.test")

            with anyio.fail_after(10):
                assert await asyncio.to_thread(int) == await anyio.to_thread.run_sync(int)
                response = await good.exchange(_request(good_server, host="good.test"))
            tasks.cancel_scope.cancel()

        assert response.status == 200
        assert names.asked == ["hung.test", "good.test"]

    async def test_a_look_up_counts_for_the_connect_timeout(self, names: Names) -> None:
        names.hang("hung.test")
        async with self.running(timeout=0.1, host="hung.test") as (engine, server):
            for _ in range(3):
                with pytest.raises(httpx.ConnectTimeout):
                    await engine.exchange(_request(server, host="hung.test"))
            names.ips["hung.test"] = ["127.0.0.1"]
            names.release("hung.test")
            response = None
            while response is None:
                with suppress(httpx.ConnectTimeout):
                    response = await engine.exchange(_request(server, host="hung.test"))
            assert response.status == 200

        assert names.asked == ["hung.test"]

    async def test_connections_and_engines_share_a_look_up(self, names: Names) -> None:
        names.ips["good.test"] = ["127.0.0.1"]
        for _ in range(2):
            async with self.running(host="good.test") as (engine, server):
                async with anyio.create_task_group() as tasks:
                    for _ in range(8):
                        tasks.start_soon(engine.exchange, _request(server, host="good.test"))

        assert names.asked == ["good.test"]

    async def test_the_next_address_is_tried_after_one_that_refuses(self, names: Names) -> None:
        names.ips["good.test"] = ["::1", "127.0.0.2", "127.0.0.1"]
        async with self.running(host="good.test") as (engine, server):
            assert (await engine.exchange(_request(server, host="good.test"))).status == 200

    async def test_an_unknown_host_is_a_connect_error_with_its_reason(self, names: Names) -> None:
        async with self.running(host="unknown.test") as (engine, server):
            with pytest.raises(httpx.ConnectError, match="Name or service not known"):
                await engine.exchange(_request(server, host="unknown.test"))


class TestPool(FilteringEngineContract):
    def make(self, url, http, *, total_timeout, keepalive):
        return Pool(url, http, context(), total_timeout=total_timeout, keepalive=keepalive)


class TestAiohttpEngine(FilteringEngineContract):
    def make(self, url, http, *, total_timeout, keepalive):
        return AiohttpEngine(http, context(), total_timeout=total_timeout, keepalive=keepalive)


class TestHttpxEngine(EngineContract):
    # Where asyncio cancels a task that opens a connection, httpcore may leave the connection open;
    # how many of the 320 tasks are cancelled then depends on the machine.
    most_left = 320

    def make(self, url, http, *, total_timeout, keepalive):
        limits = httpx.Limits(keepalive_expiry=keepalive)
        transport = httpx.AsyncHTTPTransport(verify=context(), limits=limits)
        return HttpxEngine(transport, http, total_timeout=total_timeout)
