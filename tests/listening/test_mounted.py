"""`WebhookApp` mounted in an application that uvicorn serves, with uvicorn's own access log."""

from __future__ import annotations

import asyncio
import logging
import socket

import anyio
import httpx
import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from anytrack_async import WebhookApp
from anytrack_async.listening.server import bind, serve
from tests.listening.conftest import PURCHASE, SECRET


@pytest.mark.asyncio
async def test_a_mounted_application_takes_webhooks_and_the_log_has_no_secret(
    client, kept, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    # Servers without an access log, in earlier tests of this process, have turned it off.
    caplog.set_level(logging.INFO, "uvicorn.access")
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    hooks = WebhookApp(client, secret=SECRET)
    app = Starlette(routes=[Mount("/hooks", app=hooks)])
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url) as http:
            taken = await http.post(f"/hooks/anytrack/{SECRET}", json=PURCHASE)
            refused = await http.post("/hooks/anytrack/wrong", json=PURCHASE)
        server.should_exit = True
        await serving
        await hooks.aclose()

    assert (taken.status_code, refused.status_code) == (200, 401)
    assert len(kept.conversions) == 1
    logged = "".join(r.getMessage() for r in caplog.records if r.name.startswith("uvicorn"))
    assert "POST /hooks/anytrack/hidden" in logged
    assert SECRET not in logged


@pytest.mark.asyncio
async def test_a_server_ends_when_its_task_is_cancelled_and_answers_before(client, kept):
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with anyio.create_task_group() as tasks, httpx.AsyncClient(base_url=url) as http:
        tasks.start_soon(serve, WebhookApp(client, secret=SECRET), listener)
        taken = await http.post(f"/{SECRET}", json=PURCHASE)
        tasks.cancel_scope.cancel()

    assert taken.status_code == 200
    assert len(kept.conversions) == 1
    with pytest.raises(httpx.ConnectError):
        await httpx.AsyncClient(base_url=url).post(f"/{SECRET}", json=PURCHASE)


@pytest.mark.asyncio
async def test_each_answer_is_one_packet_without_date_or_server(client):
    listener = bind("127.0.0.1", 0)
    get = f" /{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    body = orjson.dumps(PURCHASE)
    waiting = f"POST /{SECRET} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, WebhookApp(client, secret=SECRET), listener)
        async with await anyio.connect_tcp(*listener.getsockname()) as connection:
            packets = []
            for request in (
                b"GET" + get,
                b"HEAD" + get,  # an answer without a body
                f"{waiting}{len(body)}\r\n\r\n".encode(),
                body,
                b"nonsense\r\n\r\n",
            ):
                await connection.send(request)
                packets.append(await connection.receive())
        tasks.cancel_scope.cancel()

    lines = [packet.partition(b"\r\n")[0][9:12] for packet in packets]
    assert lines == [b"200", b"200", b"100", b"200", b"400"]
    assert packets[0].endswith(b'{"status":"ready"}')
    assert packets[1].endswith(b"\r\n\r\n")
    assert packets[3].endswith(b'"accepted":1,"repeats":0}')
    assert b"date:" not in b"".join(packets[:4])
    assert b"server:" not in b"".join(packets[:4])


def test_the_socket_names_its_protocol_so_that_asyncio_sends_at_once():
    with bind("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", listener.getsockname()[1])
