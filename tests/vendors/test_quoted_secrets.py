"""A service quotes our credentials back; nothing that leaves the library shows them.

For each service and each way of quoting, the secret comes in every field that an answer may have,
with every status. Then the same through whole clients and the command line, over sockets.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import respx
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

from anytrack_async import AnyTrackClient, HubSpotSink, MetaSink, SQLiteOutbox
from anytrack_async.cli.app import app
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.errors import AnyTrackError
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings, Retry
from tests.destinations.hubspot import virtual_time
from tests.quotings import QUOTINGS, leaks
from tests.transport.raw_server import ServerConnection, response_bytes, serving
from tests.vendors.quoting import (
    APP_SECRET,
    CLIENT_SECRET,
    HUBSPOT_TOKEN,
    KEY,
    META_TOKEN,
    QUICK,
    REFRESH_TOKEN,
    SALE,
    Quoting,
    anytrack,
    hubspot,
    meta,
    oauth,
    result_of,
    text_of,
)

SERVICES = {
    "anytrack": (anytrack, KEY),
    "meta": (meta, META_TOKEN),
    "meta's app": (meta, APP_SECRET),
    "hubspot": (hubspot, HUBSPOT_TOKEN),
    "hubspot's app": (oauth, CLIENT_SECRET),
    "hubspot's refresh token": (oauth, REFRESH_TOKEN),
}


@pytest.mark.untraced
@pytest.mark.parametrize("quoting", QUOTINGS)
@pytest.mark.parametrize("service", SERVICES)
def test_no_sink_shows_a_quoted_secret(service: str, quoting: str, caplog: Any):
    caplog.set_level(logging.DEBUG)
    make, secret = SERVICES[service]
    wire = Quoting()

    async def deliver_all() -> list[str]:
        answers = wire.answers(QUOTINGS[quoting](secret))
        return [await result_of(make(wire).deliver((SALE,))) for _ in answers]

    output = virtual_time.run(deliver_all())

    assert len(output) > 24  # times six secrets and 43 ways of quoting
    assert not leaks("\n".join(output) + caplog.text, secret)


# Whole clients


class Observer:
    """Collects the `repr` of every event."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def notify(self, event: object) -> None:
        self.events.append(repr(event))


ALL_AT_ONCE = [("literal", "glued"), ("upper case", "base64"), ("json", "percent-encoded"),
               ("entities", "starred"), ("all but the last", "json in json")]  # fmt: skip
ENVIRONMENT = {
    "ANYTRACK_API_KEY": KEY,
    "ANYTRACK_ACCOUNT_ID": "account",
    "META_ACCESS_TOKEN": META_TOKEN,
    "META_PIXEL_ID": "1",
    "META_APP_SECRET": APP_SECRET,
    "META_TEST_EVENT_CODE": "TEST1",
    "HUBSPOT_ACCESS_TOKEN": HUBSPOT_TOKEN,
}
CREDENTIALS = (KEY, META_TOKEN, APP_SECRET, HUBSPOT_TOKEN)


def all_in_one(url: str, status: int, *quotings: str) -> httpx.Response:
    """The answer of the service at *url*, with its secrets in every field."""
    secrets = [KEY]
    if "/events" in url:
        secrets = [META_TOKEN, APP_SECRET]
    elif "/conversions" not in url and "/reports" not in url:
        secrets = [HUBSPOT_TOKEN]
    words = " and ".join(QUOTINGS[name](secret) for name in quotings for secret in secrets)
    token = QUOTINGS[quotings[0]](secrets[0])
    body = {
        "status": "error",
        "message": words,
        "code": token,
        "request_id": token,
        "category": "VALIDATION_ERROR",
        "correlationId": token,
        "error": {"message": words, "code": token, "error_user_msg": words, "fbtrace_id": token},
        "errors": [{"message": words, "code": words, "context": {"id": [words]}}],
    }
    return httpx.Response(status, json=body, headers={"Retry-After": "0"})


@pytest.mark.asyncio
@pytest.mark.parametrize("quotings", ALL_AT_ONCE)
@pytest.mark.parametrize("status", [400, 401, 409, 422, 500])
async def test_no_client_shows_a_quoted_secret(
    status: int, quotings: tuple[str, str], caplog: Any, tmp_path: Path
):
    caplog.set_level(logging.DEBUG)
    observer, path = Observer(), tmp_path / "outbox.db"
    quick = Retry(attempts=2, base=0.001, cap=0.001, hint_cap=0.001)
    with respx.mock(assert_all_called=False) as router:
        router.route().mock(side_effect=lambda sent: all_in_one(str(sent.url), status, *quotings))
        client = AnyTrackClient(
            KEY,
            "account",
            sinks=[
                MetaSink(MetaSettings.from_env(ENVIRONMENT)),  # type: ignore[arg-type]
                HubSpotSink(HubSpotSettings(access_token=HUBSPOT_TOKEN, http=QUICK)),
            ],
            observers=[observer],
            outbox=SQLiteOutbox(path),
            delivery=DeliverySettings(retry=quick, probe=quick, drain=0.1),
            http=QUICK,
        )
        output = [repr(client)]
        try:
            async with client:
                delivery = await client.submit(SALE)
                with anyio.move_on_after(0.2):
                    output.append(repr(await delivery))
                output.append(repr(delivery.report))
                output += map(repr, await client.outbox.dead_letters())
                output.append(await result_of(client.get_conversions()))
                output.append(await result_of(client.get_conversion_details("c1")))
                output.append(await result_of(client.sync_with_meta_capi(SALE)))
        except AnyTrackError as error:  # of closing
            output.append(text_of(error))
    files = "".join(file.read_bytes().decode("latin-1") for file in tmp_path.glob("*"))  # noqa: ASYNC240

    assert "***" in "".join(output)
    shown = "\n".join([*output, *observer.events, caplog.text, files])
    assert not [secret for secret in CREDENTIALS if leaks(shown, secret)]


COMMANDS = [
    ("track", "sale", "--order-id", "1", "--revenue", "1", "--email", "a@eg.com", "--timeout", "1"),
    ("track", "lead", "--email", "a@eg.com", "--json", "--timeout", "1"),
    ("check",),
    ("setup", "hubspot"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
@pytest.mark.parametrize("status", [200, 400, 401])
def test_no_command_shows_a_quoted_secret(
    status: int, command: tuple[str, ...], monkeypatch: Any, tmp_path: Path
):
    async def answer(connection: ServerConnection, head: bytes, body: bytes) -> None:
        response = all_in_one(head.split()[1].decode(), status, "literal", "json in part")
        await connection.send(response_bytes(response.content, status))

    monkeypatch.setenv("ANYTRACK_OUTBOX", str(tmp_path / "outbox.db"))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serving(answer)) as server:
            for name in ("ANYTRACK", "META", "HUBSPOT"):
                monkeypatch.setenv(f"{name}_BASE_URL", server.url)
            result = CliRunner().invoke(app, command)
            dead = CliRunner().invoke(app, ("outbox", "dead-letters", "--json"))

    shown = result.output + dead.output + repr(result.exception)
    assert server.requests
    assert "dead-letters" not in dead.output  # the command exists
    assert not [secret for secret in CREDENTIALS if leaks(shown, secret)]


# Errors without an answer


@pytest.mark.asyncio
@pytest.mark.parametrize("engine", ["plain", "aiohttp"])
async def test_no_broken_answer_shows_a_secret(engine: Any):
    async def answer(connection: ServerConnection, head: bytes, body: bytes) -> bool:
        await connection.send(f"HTTP/1.1 2OO no key {KEY}\r\nX {KEY}\r\n\r\n".encode())
        return True

    async with serving(answer) as server:
        settings = AnyTrackSettings(
            api_key=KEY,
            account_id="account",
            base_url=server.url,
            http=HttpSettings(engine=engine, retry=Retry(attempts=1)),
        )
        sink = AnyTrackSink(settings)
        output = await result_of(sink._session.get("conversions"))
        await sink.aclose()

    assert "the connection broke off" in output
    assert not leaks(output, KEY)


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [1, 3_000])
async def test_no_log_of_unreadable_records_shows_a_secret(count: int, caplog: Any):
    records = [{"id": KEY, "revenue": 1, "by": "x" * 40}] * count
    api = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": records}))
    async with AnyTrackClient(KEY, "account", transport=api, http=QUICK) as client:
        assert await client.get_conversions() == []

    assert "left out unreadable record" in caplog.text
    assert not leaks(caplog.text, KEY)


# Rotated and other secrets


@pytest.mark.asyncio
async def test_old_and_new_tokens_are_hidden():
    wire, later = Quoting(), "sk_live_Lat3rKeyOfTheShop"
    sink = anytrack(wire)
    sink.use_token(later)
    wire.response = (
        422,
        {},
        json.dumps({"code": "x", "message": f"click {KEY} or {later}"}).encode(),
    )

    (outcome,) = await sink.deliver((SALE,))

    assert outcome.error == "click *** or *** (status 422)"


@pytest.mark.asyncio
async def test_refreshed_tokens_are_hidden():
    tokens = ["CJ-first-t0ken-0123456789", "CJ-second-t0ken-9876543210"]
    granted = iter(tokens)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/token"):
            return httpx.Response(
                200, json={"access_token": next(granted), "refresh_token": REFRESH_TOKEN}
            )
        words = " ".join([*tokens, CLIENT_SECRET, REFRESH_TOKEN])
        return httpx.Response(401, json={"message": f"no: {words}"})

    sink = oauth(httpx.MockTransport(answer))  # type: ignore[arg-type]

    output = await result_of(sink.deliver((SALE,)))

    assert "no: *** *** *** ***" in output
    assert not [
        secret for secret in (*tokens, CLIENT_SECRET, REFRESH_TOKEN) if leaks(output, secret)
    ]


@pytest.mark.asyncio
async def test_a_secret_in_the_path_of_the_base_url_is_hidden():
    wire, secret = Quoting(), "T4fQ9zX2bW7kLmN0pQrS"
    settings = MetaSettings(
        pixel_id="1", access_token=META_TOKEN, base_url=f"https://px.example/hooks/{secret}"
    )
    error = {"message": f"unknown path /hooks/{secret}/v23.0/1/events", "code": 100}
    wire.response = (400, {}, json.dumps({"error": error}).encode())

    output = await result_of(MetaSink(settings, transport=wire).deliver((SALE,)))

    assert "unknown path /hooks/***/v23.0/1/events" in output
    assert not leaks(output, secret)


@pytest.mark.asyncio
async def test_the_password_of_a_proxy_is_hidden(monkeypatch: Any):
    password = "pr0xy-passw0rd"
    monkeypatch.setenv("HTTPS_PROXY", f"http://shop:{password}@127.0.0.1:1")
    settings = AnyTrackSettings(api_key=KEY, account_id="account", http=QUICK)
    sink = AnyTrackSink(settings)
    output = await result_of(sink._session.get("conversions"))
    basic = b64encode(f"shop:{password}".encode()).decode()

    masked = sink._session.mask({"message": f"{password} {basic}"})
    await sink.aclose()

    assert masked == {"message": "*** ***"}
    assert not leaks(output, password)
