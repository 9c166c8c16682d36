"""The contract of our own engines, which filter responses and look up hosts."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest
from anyio.abc import ByteStream, SocketAttribute

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Request
from tests.transport.conftest import Names
from tests.transport.engine_contract import EngineContract
from tests.transport.raw_responses import ACCEPTED, EMPTY, REFUSED, SURPLUS
from tests.transport.raw_server import (
    ServerConnection,
    reset,
    response_bytes,
)
from tests.transport.running_engine import request_to


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
                response = await engine.exchange(request_to(server, b"{}"))
                assert response.content == (b"" if name in EMPTY else b"{}")
                if not keeps:
                    await server.all_closed()

            assert server.connections == (1 if keeps else 3)

    async def test_a_reset_is_no_end_of_a_body_without_length(self) -> None:
        async def cut(connection: ServerConnection, head: bytes, body: bytes) -> bool:
            await connection.send(b"HTTP/1.1 200 OK\r\n\r\nSUCCESS")
            await anyio.wait_all_tasks_blocked()
            return await reset(connection, head, body)

        async with self.running(cut) as (engine, server):
            with pytest.raises(httpx.ReadError):
                await engine.exchange(request_to(server, b"{}"))

    async def test_a_refusal_is_read_before_the_request_is_sent_whole(self) -> None:
        async def refuse(stream: ByteStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(response_bytes(b'{"message": "too large"}', 413))
                await anyio.sleep_forever()

        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, refuse)
            url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
            engine = self.make(url, HttpSettings(timeout=5), total_timeout=5, keepalive=15)
            request = Request("anytrack", "POST", url, {}, b"x" * 30_000_000)
            response = await engine.exchange(request)
            await engine.aclose()
            tasks.cancel_scope.cancel()

        assert response.status == 413

    @pytest.mark.parametrize("name", [*SURPLUS])
    async def test_bytes_behind_a_response_end_its_connection(self, name: str) -> None:
        async def surplus(connection: ServerConnection, head: bytes, body: bytes) -> None:
            await connection.send(SURPLUS[name])

        async with self.running(surplus) as (engine, server):
            for _ in range(3):
                response = await engine.exchange(request_to(server, b"{}"))
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
                    await engine.exchange(request_to(server, b"{}"))

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
                tasks.start_soon(hung.exchange, request_to(server, host="hung.test"))
            await names.all_asked("hung.test")

            with anyio.fail_after(10):
                assert await asyncio.to_thread(int) == await anyio.to_thread.run_sync(int)
                response = await good.exchange(request_to(good_server, host="good.test"))
            tasks.cancel_scope.cancel()

        assert response.status == 200
        assert names.asked == ["hung.test", "good.test"]

    async def test_a_look_up_counts_for_the_connect_timeout(self, names: Names) -> None:
        names.hang("hung.test")
        async with self.running(timeout=0.1, host="hung.test") as (engine, server):
            for _ in range(3):
                with pytest.raises(httpx.ConnectTimeout):
                    await engine.exchange(request_to(server, host="hung.test"))
            names.ips["hung.test"] = ["127.0.0.1"]
            names.release("hung.test")
            response = None
            while response is None:
                with suppress(httpx.ConnectTimeout):
                    response = await engine.exchange(request_to(server, host="hung.test"))
            assert response.status == 200

        assert names.asked == ["hung.test"]

    async def test_connections_and_engines_share_a_look_up(self, names: Names) -> None:
        names.ips["good.test"] = ["127.0.0.1"]
        for _ in range(2):
            async with self.running(host="good.test") as (engine, server):
                async with anyio.create_task_group() as tasks:
                    for _ in range(8):
                        tasks.start_soon(engine.exchange, request_to(server, host="good.test"))

        assert names.asked == ["good.test"]

    async def test_the_next_address_is_tried_after_one_that_refuses(self, names: Names) -> None:
        names.ips["good.test"] = ["::1", "127.0.0.2", "127.0.0.1"]
        async with self.running(host="good.test") as (engine, server):
            assert (await engine.exchange(request_to(server, host="good.test"))).status == 200

    async def test_an_unknown_host_is_a_connect_error_with_its_reason(self, names: Names) -> None:
        async with self.running(host="unknown.test") as (engine, server):
            with pytest.raises(httpx.ConnectError, match="Name or service not known"):
                await engine.exchange(request_to(server, host="unknown.test"))
