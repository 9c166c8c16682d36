"""All three services behind one transport, with responses that a test sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import orjson

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Customer,
    DeliverySettings,
    Event,
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    MetaSink,
    RecordedConversion,
    Retry,
)
from anytrack_async.models.conversion import ARGUMENTS

KEY, META_TOKEN, HUBSPOT_TOKEN = "anytrack-s3cret", "meta-s3cret", "hubspot-s3cret"
SECRETS = (KEY, META_TOKEN, HUBSPOT_TOKEN)

QUICK = DeliverySettings(
    retry=Retry(attempts=2, base=0.001, cap=0.001),
    probe=Retry(base=0.001, cap=0.005),
    drain=5,
)

SALE = Conversion.sale(
    revenue="49.90",
    order_id="1001",
    click_id="k1",
    user_agent="Mozilla/5.0",
    customer=Customer(email="jane@example.com"),
)


def recorded_as(conversion: Conversion, **changes: Any) -> RecordedConversion:
    """Return *conversion* as AnyTrack would return it, with *changes*."""
    return RecordedConversion(**{name: getattr(conversion, name) for name in ARGUMENTS} | changes)


Answer = Callable[[httpx.Request], httpx.Response]


class Service:
    """AnyTrack, Meta and HubSpot as one `httpx.MockTransport`.

    Attributes:
        requests: all requests received, in order.
        answers: path or host → a function that makes the response, instead of success.
        gate: until it is set, AnyTrack's ``POST`` gets no response.
    """

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, Answer] = {}
        self.gate = anyio.Event()
        self.gate.set()
        self.transport = httpx.MockTransport(self)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "POST" and request.url.path == "/v1/conversions":
            await self.gate.wait()
        path, answers = request.url.path, self.answers
        answer = answers.get(path) or answers.get(request.url.host) or _ANSWERS.get(path)
        if answer is None:
            answer = _meta if request.url.path.endswith("/events") else _hubspot
        return answer(request)

    def refuse(
        self, status: int = 400, message: str = "no click", path: str = "/v1/conversions"
    ) -> None:
        """Answer *path* with an error from now on."""
        self.answers[path] = lambda _: httpx.Response(status, json={"message": message})

    def answer(self, path: str, body: Any) -> None:
        """Answer *path* with *body* from now on."""
        self.answers[path] = lambda _: httpx.Response(200, json=body)

    def bodies(self, host: str = "api.anytrack.io") -> list[Any]:
        """The JSON that was posted to *host*."""
        return [
            orjson.loads(request.content)
            for request in self.requests
            if request.url.host == host and request.method == "POST"
        ]

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]

    def client(self, **options: Any) -> AnyTrackClient:
        """A client whose connections all lead to this service."""
        defaults = {"delivery": QUICK, "transport": self.transport, "http": NO_RETRY} | options
        return AnyTrackClient(KEY, "account-1", **defaults)

    def meta(self) -> MetaSink:
        settings = MetaSettings(pixel_id="p1", access_token=META_TOKEN)
        return MetaSink(settings, transport=self.transport)

    def hubspot(self) -> HubSpotSink:
        return HubSpotSink(HubSpotSettings(access_token=HUBSPOT_TOKEN), transport=self.transport)


NO_RETRY = HttpSettings(retry=Retry(attempts=1))


def _confirm(request: httpx.Request) -> httpx.Response:
    event_id = orjson.loads(request.content)["custom_data"]["event_id"]
    return httpx.Response(200, json={"status": "success", "conversion_id": f"at-{event_id}"})


def _meta(request: httpx.Request) -> httpx.Response:
    count = len(orjson.loads(request.content)["data"])
    return httpx.Response(200, json={"events_received": count, "messages": [], "fbtrace_id": "f"})


def _hubspot(request: httpx.Request) -> httpx.Response:
    inputs = orjson.loads(request.content)["inputs"]
    results = [
        item if "from" in item else {**item, "id": f"hs-{index}"}
        for index, item in enumerate(inputs)
    ]
    return httpx.Response(200, json={"status": "COMPLETE", "results": results})


_ANSWERS: dict[str, Answer] = {"/v1/conversions": _confirm}


class Remembering:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event, /) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def until(condition: Any) -> None:
    """Let others run until *condition* holds."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.wait_all_tasks_blocked()
