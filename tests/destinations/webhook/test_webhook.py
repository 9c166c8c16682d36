"""`WebhookSink`: a receiver verifies what it gets with the package of Standard Webhooks."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from anytrack_async import (
    AnyTrackClient,
    ConfigurationError,
    ConsentRule,
    Conversion,
    Customer,
    WebhookSettings,
    WebhookSink,
)
from anytrack_async.destinations.sink import NeedsOperator, Throttled, Unavailable
from anytrack_async.destinations.webhook.payload import signed_headers, to_payload

OLD, NEW = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
URL = "https://hooks.example/in/T4fQ9zX2bWk7?token=s3cr3t-v4lue"
JANE = Customer(email=" Jane@Example.com", phone="+49 170 12", first_name=["Jane", "J"])


def sale(**fields: Any) -> Conversion:
    given = {"revenue": "9.90", "order_id": "1001", "click_id": "c1", "customer": JANE, **fields}
    return Conversion.sale(**given)


def settings(**fields: Any) -> WebhookSettings:
    return WebhookSettings(**{"url": URL, "secrets": OLD, **fields})


class Receiver(httpx.AsyncBaseTransport):
    """Answers with *status*; keeps the requests."""

    def __init__(self, status: int = 204, **headers: str) -> None:
        self.status, self.headers = status, headers
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, headers=self.headers)


def verified(request: httpx.Request, secret: str) -> Any:
    return Webhook(secret).verify(request.content, dict(request.headers))


@pytest.mark.asyncio
async def test_the_receiver_verifies_id_time_and_signature():
    receiver = Receiver()
    sink = WebhookSink(settings(), transport=receiver)

    (outcome,) = await sink.deliver([sale()])
    (request,) = receiver.requests
    body = verified(request, OLD)

    assert outcome.status == "delivered"
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["webhook-id"] == "sale:1001"
    assert (body["type"], body["data"]["event_id"]) == ("conversion.sale", "sale:1001")
    assert (body["data"]["revenue"], body["data"]["click_id"]) == ("9.90", "c1")
    with pytest.raises(WebhookVerificationError):
        verified(request, NEW)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(request.content + b" ", dict(request.headers))


@pytest.mark.asyncio
async def test_while_secrets_are_rotated_both_verify():
    receiver = Receiver()

    await WebhookSink(settings(secrets=[NEW, OLD]), transport=receiver).deliver([sale()])

    for secret in (OLD, NEW):
        assert verified(receiver.requests[0], secret)
    assert receiver.requests[0].headers["webhook-signature"].count("v1,") == 2


def test_our_signature_is_that_of_the_package():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    headers = signed_headers("e.1", b'{"a":1}', [b"\x01" * 32], now=now.timestamp())

    assert headers["Webhook-Signature"] == Webhook(OLD).sign("e.1", now, '{"a":1}')


@pytest.mark.asyncio
async def test_a_repeat_has_the_same_id_and_a_new_time():
    receiver, times = Receiver(), iter((100.0, 700.9))
    sink = WebhookSink(settings(), transport=receiver, clock=lambda: next(times))

    for _ in range(2):
        await sink.deliver([sale(event_id="Ä%1")])

    assert [request.headers["webhook-id"] for request in receiver.requests] == ["%C3%84%251"] * 2
    assert [r.headers["webhook-timestamp"] for r in receiver.requests] == ["100", "700"]


def test_customer_data_is_hashed_masked_or_raw():
    conversion = sale(ip_address="203.0.113.5", user_agent="Firefox", meta={"event_name": "X"})

    hashed, masked, raw = (
        to_payload(conversion, kind)["data"] for kind in ("hashed", "masked", "raw")
    )

    assert raw["customer"]["email"] in (["Jane@Example.com"], "Jane@Example.com")
    assert raw["ip_address"] == "203.0.113.5"
    assert "meta" in raw
    assert {str(value) for value in masked["customer"].values()} <= {
        "***",
        "['***', '***']",
        "['***']",
    }
    assert (masked["ip_address"], masked["user_agent"]) == ("***", "***")
    assert sha256(b"jane@example.com").hexdigest() in str(hashed["customer"]["email"])
    assert sha256(b"4917012").hexdigest() in str(hashed["customer"]["phone"])
    digest, own_id = sha256(b"jane@example.com").hexdigest(), "ab" * 32
    customer = Customer(email=f"{digest}.AQICAQMC", external_id=own_id)
    marked = to_payload(sale(customer=customer), "hashed")["data"]["customer"]
    assert marked["email"] == [digest]
    assert marked["external_id"] == [sha256(own_id.encode()).hexdigest()]
    for text in (json.dumps(hashed), json.dumps(masked)):
        assert not [word for word in ("Jane", "jane@", "203.0", "Firefox", "meta") if word in text]


@pytest.mark.asyncio
async def test_consent_limits_or_skips():
    receiver = Receiver()
    denied = sale(consent={"ad_user_data": "denied"})

    await WebhookSink(settings(customer="raw"), transport=receiver).deliver([denied])
    skipping = WebhookSink(settings(consent=ConsentRule(denied="skip")), transport=receiver)
    (outcome,) = await skipping.deliver([denied])

    assert "customer" not in verified(receiver.requests[0], OLD)["data"]
    assert (outcome.status, len(receiver.requests)) == ("skipped", 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [410, 301, 308])
async def test_a_receiver_that_is_gone_holds_the_lane(status):
    sink = WebhookSink(settings(), transport=Receiver(status))

    with pytest.raises(NeedsOperator, match="SIGNED_WEBHOOK_URL") as caught:
        await sink.deliver([sale()])

    assert caught.value.cause == "configuration"


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_every_other_answer_is_retried_by_the_lane(status):
    with pytest.raises(Unavailable):
        await WebhookSink(settings(), transport=Receiver(status)).deliver([sale()])


@pytest.mark.asyncio
async def test_too_many_requests_pause_the_lane():
    sink = WebhookSink(settings(), transport=Receiver(429, **{"retry-after": "9"}))

    with pytest.raises(Throttled) as caught:
        await sink.deliver([sale()])

    assert caught.value.after == 9


@pytest.mark.asyncio
async def test_a_check_is_signed_and_has_no_data():
    receiver = Receiver()

    (finding,) = await WebhookSink(settings(), transport=receiver).check()
    (failed,) = await WebhookSink(settings(), transport=Receiver(401)).check()

    assert verified(receiver.requests[0], OLD)["data"] == {}
    assert (finding.ok, failed.ok) == (True, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://hooks.example/in"},
        {"url": "https://user:pass@hooks.example"},
        {"url": "https://hooks.example/#x"},
        {"url": "ftp://hooks.example"},
        {"url": "https://"},
        {"url": 7},
        {"secrets": ""},
        {"secrets": []},
        {"secrets": "whsec_c2hvcnQ="},
        {"secrets": [OLD, "no-secret-at-all-but-a-long-text"]},
        {"secrets": 5},
        {"customer": "plain"},
    ],
)
def test_wrong_settings_are_named_and_not_shown(fields):
    with pytest.raises(ConfigurationError, match=f"^{next(iter(fields))} ") as caught:
        settings(**fields)

    assert "no-secret" not in str(caught.value)
    assert "hooks.example" not in str(caught.value)


def test_neither_url_nor_secrets_are_shown():
    shown = repr(settings(secrets=f"{OLD},{NEW}"))

    assert "(…, …)" in shown
    assert not [secret for secret in (URL, OLD, NEW, "s3cr3t", "T4fQ") if secret in shown]


def test_the_environment_configures_it():
    environ = {
        "SIGNED_WEBHOOK_URL": "http://localhost:1/x/",
        "SIGNED_WEBHOOK_SECRET": f"{OLD}, {NEW}",
    }

    assert WebhookSink.from_env({}) is None
    assert WebhookSettings.from_env(environ).secrets == (OLD, NEW)
    with pytest.raises(ConfigurationError, match="set SIGNED_WEBHOOK_SECRET"):
        WebhookSink.from_env({"SIGNED_WEBHOOK_URL": URL})
    with pytest.raises(ConfigurationError, match="SIGNED_WEBHOOK_SECRET: secrets must be"):
        WebhookSink.from_env({**environ, "SIGNED_WEBHOOK_SECRET": "x"})


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """A receiver on a socket: it fails once, then verifies and keeps what it gets."""
    kept: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.append((self.path, Webhook(NEW).verify(body, dict(self.headers.items()))))
            self.send_response(503 if len(kept) == 1 else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", kept
        server.shutdown()
        thread.join()


@pytest.mark.asyncio
async def test_over_a_socket_a_failed_webhook_comes_again(server, caplog):
    url, kept = server
    sink = WebhookSink(settings(url=f"{url}/in/?token=s3cr3t-v4lue", secrets=[OLD, NEW]))

    async with AnyTrackClient("k", "a", sinks=[sink]) as client:
        delivery = await client.submit(sale(), to=["signed-webhook"])
        outcome = await delivery.at("signed-webhook")

    assert outcome.status == "delivered"
    assert [path for path, _ in kept] == ["/in/?token=s3cr3t-v4lue"] * 2
    assert {body["data"]["event_id"] for _, body in kept} == {"sale:1001"}
    assert "s3cr3t" not in caplog.text


@pytest.mark.asyncio
async def test_a_check_tells_a_receiver_that_is_busy_from_one_that_is_not_there():
    class Absent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

    (absent,) = await WebhookSink(settings(), transport=Absent()).check()
    (busy,) = await WebhookSink(settings(), transport=Receiver(503)).check()

    assert not absent.ok
    assert not busy.ok
    assert "503" in busy.message
    assert absent.message
    assert absent.message != busy.message
    assert "s3cr3t" not in absent.message + busy.message


def test_a_preview_has_customers_as_the_receiver_gets_them():
    preview = WebhookSink(settings(customer="masked")).preview(sale())

    assert preview.requests["webhook"]["data"]["event_id"] == "sale:1001"
    assert "Jane" not in str(preview.requests)
    assert not preview.problem
