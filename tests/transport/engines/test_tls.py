from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable
from typing import Literal

import anyio
import httpx
import pytest

from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.engines import tls
from anytrack_async.transport.engines.tls import tls_context
from anytrack_async.transport.session import Session
from tests.transport.server import reply, serving, trusting

pytestmark = pytest.mark.asyncio

HTTP = HttpSettings(timeout=5)


async def test_the_context_is_made_once_and_not_on_the_loop(monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []
    create = httpx.create_ssl_context

    def spy() -> ssl.SSLContext:
        made.append(threading.get_ident())
        return create()

    monkeypatch.setattr(httpx, "create_ssl_context", spy)
    tls._make.cache_clear()
    found: list[ssl.SSLContext] = []

    async def one() -> None:
        found.append(await tls_context())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)

    assert len(made) == 1
    assert made[0] != threading.get_ident()
    assert len({id(context) for context in found}) == 1


async def test_nothing_but_what_the_engines_speak_is_offered(monkeypatch: pytest.MonkeyPatch):
    offered: list[list[str]] = []

    class Context(ssl.SSLContext):
        def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
            offered.append(list(alpn_protocols))

    with monkeypatch.context() as patch:
        patch.setattr(httpx, "create_ssl_context", lambda: Context(ssl.PROTOCOL_TLS_CLIENT))
        tls._make.cache_clear()
        await tls_context()
    tls._make.cache_clear()

    assert offered == [["http/1.1"]]


async def test_a_wrong_ca_file_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", "no-such-file.pem")
    tls._make.cache_clear()
    talk = Session("anytrack", "https://api.test", headers={}, http=HTTP)

    with pytest.raises(ConfigurationError, match="cannot load the CA certificates"):
        await talk.send("GET", "a")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert await tls_context()


async def test_the_context_verifies():
    context = await tls_context()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_server_that_is_not_trusted_gets_nothing(engine: Literal["plain", "aiohttp"]):
    async with serving(secure=True) as server:
        http = HttpSettings(timeout=5, engine=engine)
        talk = Session("anytrack", server.url, headers={}, http=http)
        with pytest.raises(TransportError, match="certificate verify failed"):
            await talk.send("POST", "conversions", content=b"{}")
        await talk.aclose()

    assert server.requests == []


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_server_that_is_trusted_answers_over_tls(
    engine: Literal["plain", "aiohttp"], monkeypatch: pytest.MonkeyPatch
):
    async def context() -> ssl.SSLContext:
        return trusting()

    async def respond(wire: object, head: bytes, body: bytes) -> None:
        await wire.send(reply(body))  # type: ignore[attr-defined]

    async with serving(respond, secure=True) as server:
        monkeypatch.setattr("anytrack_async.transport.engines.choose.tls_context", context)
        http = HttpSettings(timeout=5, engine=engine)
        talk = Session("anytrack", server.url, headers={}, http=http)
        for _ in range(3):
            answered = await talk.send("POST", "conversions", content=b"x" * 200_000)
            assert answered.content == b"x" * 200_000
        await talk.aclose()
        await server.all_closed()

    assert server.connections == 1


@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_a_handshake_that_hangs_ends(engine: Literal["plain", "aiohttp"]):
    async def silent(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, silent)
        http = HttpSettings(timeout=0.05, engine=engine)
        talk = Session("anytrack", f"https://localhost:{port}", headers={}, http=http)
        with pytest.raises(TransportError, match=r"no connection to \S+ within 0\.05 s"):
            await talk.send("GET", "a")
        await talk.aclose()
        tasks.cancel_scope.cancel()
    await listener.aclose()
