"""The contract of `Engine`, tested over real sockets; `test_engine_contract.py` runs it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import traceback
import zlib

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import LimitExceeded, Request, TotalTimeout
from tests.transport.raw_server import (
    Handler,
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
    silence,
)
from tests.transport.running_engine import (
    EMAIL,
    SESSION_HEADERS,
    UNUSED,
    RunningEngine,
    request_to,
    send,
    send_concurrently,
)


@pytest.mark.asyncio
class EngineContract(RunningEngine):
    """Every promise of `Engine` as a test; a subclass implements `make`."""

    # Requests and responses

    async def test_request_line_headers_and_body_are_sent_as_given(self) -> None:
        async with self.running() as (engine, server):
            headers = dict.fromkeys(SESSION_HEADERS, "x") | {"Authorization": "Bearer t"}
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

    async def test_no_other_headers_are_added(self) -> None:
        async with self.running() as (engine, server):
            headers = {"Content-Type": "x"}
            await engine.exchange(Request("anytrack", "POST", server.url, headers, b"{}"))

        names = sorted(line.partition(b":")[0] for line in server.requests[0][1].split(b"\r\n")[1:])
        assert names == [b"Content-Length", b"Content-Type", b"Host"]

    async def test_a_response_has_status_headers_and_body(self) -> None:
        async def created(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"[1]", 201, "X-Request-ID: r1"))

        async with self.running(created) as (engine, server):
            response = await engine.exchange(request_to(server, b"{}"))

        assert (response.status, response.content) == (201, b"[1]")
        assert response.headers["x-REQUEST-id"] == "r1"
        assert (response.service, response.request_content) == ("anytrack", b"{}")

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
    async def test_a_request_without_body_declares_it_where_one_is_expected(
        self, method: str
    ) -> None:
        async with self.running() as (engine, server):
            await engine.exchange(request_to(server, None, method))

        assert (b"Content-Length: 0" in server.requests[0][1]) is (method != "GET")

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_048_576, 1_048_577, 3_000_000])
    async def test_a_body_of_any_size_is_sent_and_read_whole(self, size: int) -> None:
        async with self.running(echo, max_reply=3_000_000) as (engine, server):
            response = await engine.exchange(request_to(server, b"x" * size))

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
            contents = [(await engine.exchange(request_to(server))).content for _ in range(2)]

            assert contents == [b"[1,2]", b"[1,2]"]
            assert server.connections == 1

    async def test_a_header_of_90_kb_is_read(self) -> None:
        async def long(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"{}", 200, f"X-Long: {'x' * 90_000}"))

        async with self.running(long) as (engine, server):
            response = await engine.exchange(request_to(server))

        assert len(response.headers["x-long"]) == 90_000

    async def test_a_compressed_body_is_decompressed(self) -> None:
        async def compressed(connection: ServerConnection, head: bytes, body: bytes) -> None:
            content = gzip.compress(b"[1]")
            await connection.send(response_bytes(content, 200, "Content-Encoding: gzip"))

        async with self.running(compressed) as (engine, server):
            assert (await engine.exchange(request_to(server))).content == b"[1]"

    async def test_a_body_that_was_compressed_twice_may_have_two_headers(self) -> None:
        async def compressed(connection: ServerConnection, head: bytes, body: bytes) -> None:
            content = gzip.compress(zlib.compress(b"[1]"))
            codings = ("Content-Encoding: deflate", "Content-Encoding: gzip")
            await connection.send(response_bytes(content, 200, *codings))

        async with self.running(compressed) as (engine, server):
            assert (await engine.exchange(request_to(server))).content == b"[1]"

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
                await engine.exchange(request_to(server, headers={"Authorization": "a\r\nX: y"}))

            assert server.requests == []

    # Connections

    async def test_sequential_requests_share_a_connection(self) -> None:
        async with self.running() as (engine, server):
            for _ in range(10):
                await engine.exchange(request_to(server, b"{}"))

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
                await send_concurrently(engine, server, 5)

            assert server.connections == 5

    async def test_a_connection_that_the_server_closed_is_replaced(self) -> None:
        async def respond_and_close(connection: ServerConnection, head: bytes, body: bytes) -> bool:
            await connection.send(response_bytes())
            return True

        async with self.running(respond_and_close) as (engine, server):
            for _ in range(3):
                assert (await engine.exchange(request_to(server, b"{}"))).status == 200
                await server.all_closed()
                for _ in range(10):  # the event loop polls its sockets once per iteration
                    await anyio.lowlevel.checkpoint()

            assert server.connections == 3

    async def test_connection_close_is_obeyed(self) -> None:
        async def last(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"{}", 200, "Connection: close"))

        async with self.running(last) as (engine, server):
            for _ in range(3):
                await engine.exchange(request_to(server))

            assert server.connections == 3

    async def test_a_connection_that_idled_for_too_long_is_not_used_again(self) -> None:
        async with self.running(keepalive=0.02) as (engine, server):
            await engine.exchange(request_to(server))
            await anyio.sleep(0.1)
            await engine.exchange(request_to(server))

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
                    await engine.exchange(request_to(server, b"{}"))
                assert failure is reset or caught.type is httpx.RemoteProtocolError
            broken = False

            assert (await engine.exchange(request_to(server, b"{}"))).status == 200
            assert server.connections == 4

    async def test_a_refused_connection_is_a_connect_error_with_its_reason(self) -> None:
        engine = self.make(UNUSED, HttpSettings(timeout=5), total_timeout=None, keepalive=15)
        with pytest.raises(httpx.ConnectError, match=r"[Cc]onnect"):
            await engine.exchange(Request("anytrack", "GET", UNUSED, {}))
        await engine.aclose()

    async def test_no_error_quotes_the_query(self) -> None:
        engine = self.make(UNUSED, HttpSettings(timeout=5), total_timeout=None, keepalive=15)
        with pytest.raises(httpx.ConnectError) as caught:
            await engine.exchange(Request("anytrack", "GET", f"{UNUSED}/?email={EMAIL}", {}))
        await engine.aclose()

        assert EMAIL not in "".join(traceback.format_exception(caught.value))

    async def test_a_server_that_sends_nothing_is_a_read_timeout(self) -> None:
        async with self.running(silence, timeout=0.1) as (engine, server):
            with pytest.raises(httpx.ReadTimeout) as caught:
                await engine.exchange(request_to(server))

            assert caught.type is httpx.ReadTimeout
            await server.all_closed()

    async def test_a_server_that_sends_too_slowly_is_a_total_timeout(self) -> None:
        async with self.running(drip, timeout=0.1, total_timeout=0.3) as (engine, server):
            with pytest.raises(TotalTimeout):
                await engine.exchange(request_to(server))

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
                assert len((await engine.exchange(request_to(server, content))).content) == size
                over = 1
                with pytest.raises(LimitExceeded, match=f"={size}"):
                    await engine.exchange(request_to(server, content))
                await server.all_closed()

    async def test_a_body_that_is_announced_too_large_is_not_waited_for(self) -> None:
        async def announced(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n")

        async with self.running(announced) as (engine, server):
            with pytest.raises(LimitExceeded, match="max_body"):
                await engine.exchange(request_to(server))
            await server.all_closed()

    async def test_a_compressed_body_is_cut_off_while_it_arrives(self) -> None:
        async def bomb(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
            await connection.send(gzip.compress(bytes(10_000_000))[:9_000])

        async with self.running(bomb) as (engine, server):
            with pytest.raises(LimitExceeded, match="max_body"):
                await engine.exchange(request_to(server))
            await server.all_closed()

    async def test_an_engine_is_usable_after_a_response_over_a_limit(self) -> None:
        async def handler(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(response_bytes(b"x" * size))

        async with self.running(handler, max_reply=100) as (engine, server):
            size = 101
            for _ in range(3):
                with pytest.raises(LimitExceeded):
                    await engine.exchange(request_to(server, b"{}"))
            size = 100

            assert (await engine.exchange(request_to(server, b"{}"))).status == 200
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
                        tasks.start_soon(engine.exchange, request_to(server))
                    await arrived.wait()
                    tasks.cancel_scope.cancel()
                await server.all_closed()
            silent = False

            assert (await engine.exchange(request_to(server))).status == 200

    async def test_an_engine_is_usable_after_a_cancellation_at_any_moment(self) -> None:
        async with self.running() as (engine, server):
            for step in range(60):
                with anyio.move_on_after(step / 20_000):
                    await send_concurrently(engine, server, 8)
            with anyio.fail_after(5):
                await send_concurrently(engine, server, 8)
            for _ in range(5):
                assert (await engine.exchange(request_to(server))).status == 200

            await server.all_closed(remaining=self.most_left)

    async def test_an_engine_is_usable_after_asyncio_cancelled_its_tasks(self) -> None:
        """Web frameworks cancel a task by asyncio, without a cancel scope."""
        async with self.running() as (engine, server):
            for step in range(40):
                tasks = [asyncio.create_task(send(engine, server)) for _ in range(8)]
                await asyncio.sleep(step / 10_000)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            with anyio.fail_after(5):
                await send_concurrently(engine, server, 8)

            await server.all_closed(remaining=self.most_left)
