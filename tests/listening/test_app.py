"""`WebhookApp`: 2xx only after the outbox has the conversion, and never a 500."""

from __future__ import annotations

import gzip
import json
import logging
import zlib

import anyio
import orjson
import pytest

from anytrack_async import (
    AnyTrackClient,
    ConfigurationError,
    Conversion,
    DeliverySettings,
    ListenSettings,
    MemoryOutbox,
    OutboxError,
    WebhookApp,
)
from tests.listening.conftest import PURCHASE, SECRET, Kept, call

pytestmark = pytest.mark.asyncio


def event(number: int) -> dict:
    return PURCHASE | {"clickId": f"click-{number}"}


async def test_a_webhook_is_stored_and_sent_on_but_not_back_to_anytrack(client, kept):
    async with client:
        app = WebhookApp(client, secret=SECRET)
        reply = await call(app)
        depths = await client.outbox.depths()

    assert (reply.status, reply.json) == (200, {"status": "ok", "accepted": 1, "repeats": 0})
    assert [item.click_id for item in kept.conversions] == [PURCHASE["clickId"]]
    assert depths["anytrack"].waiting == 0
    assert repr(app) == "<WebhookApp: to shop>"


async def test_a_repeat_is_one_conversion(client, kept):
    async with client:
        app = WebhookApp(client, secret=SECRET)
        await call(app)
        reply = await call(app, PURCHASE | {"brandNew": "key"})
        both = await call(app, [event(1), event(2), event(1), "text"])

    assert reply.json == {"status": "ok", "accepted": 0, "repeats": 1}
    assert both.json == {"status": "ok", "accepted": 2, "repeats": 1}
    assert len(kept.conversions) == 3


async def test_an_item_of_a_list_that_is_no_event_costs_the_others_nothing(client, kept):
    async with client:
        reply = await call(WebhookApp(client, secret=SECRET), [event(1), {"hello": 1}, event(2)])

    assert reply.json == {"status": "ok", "accepted": 2, "repeats": 0, "left_out": 1}
    assert len(kept.conversions) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"click_id=1&value=2", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b"null", 422),
        (b"[]", 422),
        (b"7", 422),
        (b"{}", 422),
        (b'[1, "a", null]', 422),
        (b'{"hello": "world"}', 422),
    ],
)
async def test_a_body_without_an_event_is_answered_with_the_reason(client, body, status):
    async with client:
        reply = await call(WebhookApp(client, secret=SECRET), body)

    assert reply.status == status
    assert reply.json["error"]


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (gzip.compress(orjson.dumps(PURCHASE)), b"gzip", 200),
        (zlib.compress(orjson.dumps(PURCHASE)), b"Deflate", 200),
        (zlib.compress(orjson.dumps(PURCHASE), wbits=-15), b"deflate", 200),
        (gzip.compress(gzip.compress(orjson.dumps(PURCHASE))), b"gzip, x-gzip", 200),
        (orjson.dumps(PURCHASE), b"gzip", 200),  # a proxy has left the header
        (json.dumps(PURCHASE).encode("utf-16"), b"", 200),
        (gzip.compress(json.dumps(PURCHASE).encode("utf-16-le")), b"gzip", 200),
        (json.dumps(PURCHASE).encode("utf-16-le")[:-1], b"identity", 400),
        (b"\x1b\x00\xf8", b"br", 415),
        (gzip.compress(orjson.dumps(PURCHASE))[:-9], b"gzip", 415),
        (b"no gzip", b"gzip", 415),
        (gzip.compress(b" " * 1_000_000 + orjson.dumps(PURCHASE)), b"gzip", 413),
    ],
    ids=range(12),  # the bytes have the time in them
)
async def test_a_compressed_body_and_other_encodings_are_read_within_the_limit(
    client, body, coding, status
):
    async with client:
        headers = [(b"content-encoding", coding)]
        reply = await call(WebhookApp(client, secret=SECRET), body, headers=headers)

    assert reply.status == status


async def test_the_secret_is_in_the_path_or_in_a_header(client):
    async with client:
        app = WebhookApp(client, secret=[SECRET, "another-secret-1234"])
        wrong = [
            await call(app, path=path)
            for path in ("/", f"/{SECRET[:-1]}", f"/{SECRET}x", f"/{SECRET}/", f"/é{SECRET}")
        ]
        headers = [(b"x-webhook-secret", SECRET.encode())]
        right = [
            await call(app, path="/hooks", headers=headers),
            await call(app, path="/another-secret-1234"),
            await call(app, method="GET"),
            await call(app, method="HEAD"),
        ]
        put = await call(app, method="PUT")

    assert [reply.status for reply in wrong] == [401] * 5
    assert [reply.status for reply in right] == [200] * 4
    assert (put.status, put.headers[b"allow"]) == (405, b"POST, GET, HEAD")


async def test_the_secret_is_replaced_in_what_a_server_logs(client):
    scope: dict = {}
    async with client:
        await call(WebhookApp(client, secret=SECRET), scope=scope)

    assert (scope["path"], scope["raw_path"]) == ("/hooks/hidden", b"/hooks/hidden")


async def test_large_bodies_and_long_lists_are_refused(client):
    async with client:
        app = WebhookApp(
            client, secret=SECRET, settings=ListenSettings(max_body=2_000, max_events=3)
        )
        announced = await call(app, b"x", headers=[(b"content-length", b"2001")])
        streamed = await call(app, b"x" * 2_001, parts=5)
        many = await call(app, [{}] * 4)
        fits = await call(app, orjson.dumps(PURCHASE), parts=7)

    assert [reply.status for reply in (announced, streamed, many)] == [413] * 3
    assert fits.status == 200


async def test_too_many_webhooks_are_told_when_to_come_again(client):
    async with client:
        app = WebhookApp(client, secret=SECRET, settings=ListenSettings(rate=0.25))
        first, second = await call(app, event(1)), await call(app, event(2))
        unauthorised = await call(app, path="/wrong")

    assert (first.status, second.status, unauthorised.status) == (200, 429, 401)
    assert second.headers[b"retry-after"] == b"4"


async def test_a_slow_body_and_too_many_at_once_are_refused(client):
    async with client:
        limits = ListenSettings(body_within=0.05, requests=1)
        app = WebhookApp(client, secret=SECRET, settings=limits)
        sent: list = []

        async def send(message) -> None:
            sent.append(message)

        reading = anyio.Event()

        async def receive() -> dict:
            reading.set()
            await anyio.sleep_forever()

        scope = {"type": "http", "method": "POST", "path": f"/{SECRET}", "headers": []}
        async with anyio.create_task_group() as tg:
            tg.start_soon(app, scope, receive, send)
            await reading.wait()
            busy = await call(app)

    assert sent[0]["status"] == 408
    assert (busy.status, busy.headers[b"retry-after"]) == (503, b"1")


async def test_a_full_outbox_is_503_and_sending_again_works():
    gate = anyio.Event()

    class Slow(Kept):
        async def deliver(self, batch, /):
            await gate.wait()
            return await super().deliver(batch)

    kept = Slow()
    async with AnyTrackClient(
        "k",
        "a",
        sinks=[kept],
        outbox=MemoryOutbox(capacity=1),
        log=False,
        delivery=DeliverySettings(on_full="raise"),
    ) as client:
        app = WebhookApp(client, secret=SECRET)
        first, full = await call(app, event(1)), await call(app, event(2))
        gate.set()
        while len(kept.conversions) < 1:
            await anyio.lowlevel.checkpoint()
        await client.outbox.depths()
        again = await call(app, event(2))
        while again.status == 503:
            again = await call(app, event(2))

    assert (first.status, full.status, again.status) == (200, 503, 200)
    assert full.headers[b"retry-after"] == b"5"
    assert [item.click_id for item in kept.conversions] == ["click-1", "click-2"]


@pytest.mark.parametrize("error", [OutboxError("database is locked"), RuntimeError(SECRET)])
async def test_an_outbox_that_cannot_store_is_503(client, error, monkeypatch, caplog):
    async def fail(*_, **__):
        raise error

    async with client:
        monkeypatch.setattr(client, "accept_many", fail)
        reply = await call(WebhookApp(client, secret=SECRET))

    assert reply.status == 503
    assert SECRET not in caplog.text + str(reply.json)


async def test_an_outbox_that_takes_too_long_is_503(client, monkeypatch):
    async def wait(*_, **__):
        await anyio.sleep_forever()

    async with client:
        monkeypatch.setattr(client, "accept_many", wait)
        limits = ListenSettings(answer_within=0.02)
        reply = await call(WebhookApp(client, secret=SECRET, settings=limits))

    assert (reply.status, reply.headers[b"retry-after"]) == (503, b"5")


async def test_a_hook_may_change_the_conversion_and_may_fail(client, kept, caplog):
    caplog.set_level(logging.ERROR)
    async with client:
        app = WebhookApp(client, secret=SECRET, settings=ListenSettings(hook_within=0.05))
        seen: list[Conversion] = []

        @app.on_conversion
        def rename(conversion: Conversion) -> Conversion:
            seen.append(conversion)
            return Conversion.sale(revenue=1, event_id=f"own-{len(seen)}")

        @app.on_conversion
        async def fail(conversion: Conversion) -> None:
            raise RuntimeError(f"jane@example.com {conversion.event_id}")

        @app.on_conversion
        async def hang(_: Conversion) -> None:
            await anyio.sleep_forever()

        replies = [await call(app, event(number)) for number in range(2)]

    assert [reply.status for reply in replies] == [200, 200]
    assert [item.event_id for item in kept.conversions] == ["own-1", "own-2"]
    assert "hook fail failed with RuntimeError" in caplog.text
    assert "jane" not in caplog.text


async def test_only_wanted_events_are_taken(client, kept):
    async with client:
        app = WebhookApp(client, secret=SECRET, settings=ListenSettings(events=["Purchase"]))
        view = await call(app, PURCHASE | {"eventName": "PageView"})
        await call(app)

    assert (view.status, view.json["accepted"]) == (200, 0)
    assert len(kept.conversions) == 1


async def test_wrong_arguments_are_named(client, kept):
    bare = AnyTrackClient("k", "a")
    for arguments, message in [
        ({"secret": "short"}, "16 characters"),
        ({"secret": []}, "must not be empty"),
        ({"secret": "with/slash-123456789"}, "without a slash"),
        ({"secret": SECRET, "to": ["pigeon"]}, "no destination"),
        ({"secret": SECRET, "to": "shop"}, "must be a list"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            WebhookApp(client, **arguments)
    with pytest.raises(ConfigurationError, match="not sent back"):
        WebhookApp(bare, secret=SECRET)
    assert WebhookApp(bare, secret=SECRET, to=["anytrack"])
    for wrong in ({"rate": 0}, {"max_body": 1.5}, {"events": "Purchase"}, {"currency": "euro"}):
        with pytest.raises(ConfigurationError):
            ListenSettings(**wrong)


async def test_mounted_without_a_lifespan_it_opens_the_client_itself(client, kept):
    app = WebhookApp(client, secret=SECRET)

    reply = await call(app)
    await app.aclose()
    late = await call(app, event(9))
    await app.aclose()

    assert (reply.status, late.status) == (200, 200)
    assert len(kept.conversions) == 2


async def test_served_alone_its_lifespan_opens_and_closes_the_client(client, kept):
    app = WebhookApp(client, secret=SECRET)
    to_app, from_test = anyio.create_memory_object_stream[dict](2)
    sent: list = []

    async def send(message) -> None:
        sent.append(message["type"])

    await to_app.send({"type": "lifespan.startup"})
    async with anyio.create_task_group() as tg:
        tg.start_soon(app, {"type": "lifespan"}, from_test.receive, send)
        await anyio.wait_all_tasks_blocked()
        reply = await call(app)
        await to_app.send({"type": "lifespan.shutdown"})
    to_app.close()
    from_test.close()

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert reply.status == 200
    assert len(kept.conversions) == 1
