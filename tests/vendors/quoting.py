"""Services that quote our credentials back, for tests that nothing shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from anytrack_async import HubSpotSink, MetaSink
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.destinations.sink import SinkSignal
from anytrack_async.errors import AnyTrackError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.settings.http import HttpSettings, Retry

KEY = "sk_live_4fQ9zX2b"
META_TOKEN = "EAABsbCS1iHgBAKZCq7vJ0ZAbZBZCw4k8mZBZAZD1PqRs"
APP_SECRET = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
HUBSPOT_TOKEN = "pat-na1-6f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
CLIENT_SECRET = "1c2b3a4d-5e6f-7081-92a3-b4c5d6e7f809"
REFRESH_TOKEN = "na1-r3fr-35h0-t0k3n-0123456789"
SALE = Conversion.sale(
    revenue=10,
    order_id="1001",
    user_agent="Mozilla/5.0",
    page_url="https://shop.example/",
    customer=Customer(email="someone@example.com"),
)
QUICK = HttpSettings(retry=Retry(attempts=1))
OTHER_STATUSES = (207, 301, 401, 403, 404, 409, 413, 422, 423, 429, 477, 500, 503)


# The places of an answer


def bodies(quoted: str) -> Iterator[Any]:
    """Yield answers in the formats of all services, with *quoted* in one or two fields."""
    yield {"status": "error", "code": "invalid", "message": f"You sent {quoted}", "request_id": "r"}
    yield {"status": "error", "code": quoted, "message": "no", "request_id": quoted}
    yield {"status": "success", "conversion_id": quoted, "message": quoted}
    yield {"error": f"no such key {quoted}"}
    yield {"error": {"message": quoted, "code": 100, "error_subcode": 2804007, "type": quoted}}
    yield {"error": {"message": "no", "error_user_msg": quoted, "fbtrace_id": quoted, "code": 190}}
    yield {"events_received": 0, "messages": [quoted, {"text": quoted}], "fbtrace_id": quoted}
    yield {"message": quoted, "category": quoted, "correlationId": quoted, "policyName": quoted}
    yield {"message": f'No: [{{"name": "anytrack_{quoted}", "error": "X", "message": "{quoted}"}}]'}
    yield {
        "category": "VALIDATION_ERROR",
        "message": f'Property "anytrack_{quoted}" does not exist',
        "errors": [{"message": quoted, "code": quoted, "context": {"propertyName": [quoted]}}],
        "context": {"missingScopes": [quoted], "existingId": [quoted]},
        "results": [{"id": quoted, "objectWriteTraceId": "sale:1001"}],
    }
    yield json.dumps({"message": quoted})
    yield f"<html><title>{quoted}</title></html>"
    yield {"data": [{"id": quoted, "revenue": quoted, quoted: [quoted]}]}


class Quoting(httpx.AsyncBaseTransport):
    """A service with the same answer to every request."""

    def __init__(self) -> None:
        self.response: tuple[int, dict[str, str], bytes] = (200, {}, b"")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, headers, content = self.response
        return httpx.Response(status, headers=headers, content=content)

    def answers(self, quoted: str) -> Iterator[None]:
        """Set one answer after the other, with *quoted* in each place, and with three statuses."""
        headers = {"Retry-After": "0"}
        if quoted.isascii() and quoted.isprintable():
            headers["X-Request-ID"] = quoted
        for number, body in enumerate(bodies(quoted)):
            contents = {json.dumps(body), json.dumps(body, ensure_ascii=False)}
            if isinstance(body, str):
                contents = {body}
            for content in contents:
                for status in (
                    200,
                    400,
                    OTHER_STATUSES[(number + len(quoted)) % len(OTHER_STATUSES)],
                ):
                    self.response = (status, headers, content.encode())
                    yield


def text_of(error: BaseException) -> str:
    """Everything that an error and its causes show."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        texts.append(f"{cause!r} {cause} {vars(cause)}")
        cause = cause.__cause__ or cause.__context__
    return " ".join(texts)


async def result_of(call: Any) -> str:
    try:
        return repr(await call)
    except (AnyTrackError, SinkSignal) as error:
        return text_of(error)


def anytrack(wire: Quoting) -> AnyTrackSink:
    settings = AnyTrackSettings(api_key=KEY, account_id="account", http=QUICK)
    return AnyTrackSink(settings, transport=wire)


def meta(wire: Quoting) -> MetaSink:
    settings = MetaSettings(
        pixel_id="1", access_token=META_TOKEN, app_secret=APP_SECRET, http=QUICK
    )
    return MetaSink(settings, transport=wire)


def hubspot(wire: Quoting) -> HubSpotSink:
    settings = HubSpotSettings(access_token=HUBSPOT_TOKEN, http=QUICK)
    return HubSpotSink(settings, transport=wire)


def oauth(wire: Quoting) -> HubSpotSink:
    app_ = OAuthSettings(client_id="c", client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN)
    return HubSpotSink(HubSpotSettings(oauth=app_, http=QUICK), transport=wire)
