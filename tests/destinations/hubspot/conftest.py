from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import httpx
import orjson
import pytest

from anytrack_async.destinations.hubspot.rate_limit import _windows
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

AT = datetime(2026, 3, 4, 5, 6, 7, 891234, tzinfo=UTC)
TOKEN = "pat-na1-secret"

Script = httpx.Response | Callable[["Call"], httpx.Response] | Exception


@attrs.frozen
class Call:
    """One request as it was sent."""

    op: str
    request: httpx.Request

    @property
    def body(self) -> Any:
        return orjson.loads(self.request.content)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        return self.body["inputs"]

    @property
    def path(self) -> str:
        return self.request.url.path

    @property
    def token(self) -> str:
        return self.request.headers.get("Authorization", "").removeprefix("Bearer ")


class Wire(httpx.AsyncBaseTransport):
    """HubSpot as the tests script it: a request without a scripted response succeeds."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.scripts: dict[str, deque[Script]] = {}
        self.closed = 0

    def script(self, op: str, *answers: Script) -> None:
        self.scripts.setdefault(op, deque()).extend(answers)

    def of(self, op: str) -> list[Call]:
        return [call for call in self.calls if call.op == op]

    @property
    def ops(self) -> list[str]:
        return [call.op for call in self.calls]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        call = Call(operation(request.url.path), request)
        self.calls.append(call)
        waiting = self.scripts.get(call.op)
        answer = waiting.popleft() if waiting else fine
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(call)

    async def aclose(self) -> None:
        self.closed += 1


def operation(path: str) -> str:
    if path.endswith("/batch/upsert"):
        return path.split("/")[-3]
    marks = {"/associate/default": "link", "/token": "token", "/send/batch": "events"}
    for end, op in marks.items():
        if path.endswith(end):
            return op
    for part, op in {"pipelines": "pipelines", "properties": "properties"}.items():
        if f"/{part}/" in path:
            return op
    return "account" if "account-info" in path else path


def fine(call: Call) -> httpx.Response:
    if call.op == "link":
        return reply(results=[way for item in call.inputs for way in both_ways(item)])
    if call.op == "events":
        return httpx.Response(204)
    return reply(results=[written(item) for item in reversed(call.inputs)])


def both_ways(link: dict[str, Any]) -> list[dict[str, Any]]:
    return [link, {"from": link["to"], "to": link["from"]}]


def written(item: dict[str, Any], *, trace: bool = True) -> dict[str, Any]:
    """Return the result of an input; its id contains the input's, so that a mix-up shows."""
    result = {"id": f"id of {item['id']}", "properties": item["properties"], "new": True}
    return {**result, "objectWriteTraceId": item["objectWriteTraceId"]} if trace else result


def reply(
    status: int = 200, *, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    return httpx.Response(status, json={"status": "COMPLETE", **body}, headers=headers)


def refusal(status: int, category: str, message: str = "no", **more: Any) -> httpx.Response:
    body = {"status": "error", "category": category, "message": message, "correlationId": "cor-1"}
    return httpx.Response(status, json={**body, **more})


def item_error(
    trace: str | None, category: str = "VALIDATION_ERROR", **more: Any
) -> dict[str, Any]:
    context = {} if trace is None else {"context": {"objectWriteTraceId": [trace]}}
    return {"status": "error", "category": category, "message": "bad input", **context, **more}


def sale(order: str = "1", email: str | None = None, **more: Any) -> Conversion:
    customer = Customer(email=email) if email else None
    fields = {"revenue": "9.90", "order_id": order, "timestamp": AT, "customer": customer, **more}
    return Conversion.sale(**fields)


def settings_of(**more: Any) -> HubSpotSettings:
    return HubSpotSettings(**{"access_token": TOKEN, **more})


PIPELINES = {
    "results": [
        {
            "id": "default",
            "label": "Sales Pipeline",
            "archived": False,
            "stages": [
                {"id": "qualifiedtobuy", "label": "Qualified To Buy"},
                {"id": "closedwon", "label": "Closed Won"},
                {"id": "old", "label": "Old", "archived": True},
            ],
        },
        {
            "id": "1016",
            "label": "Affiliate sales",
            "stages": [{"id": "20", "label": "New"}, {"id": "21", "label": "Won"}],
        },
        {"id": "7", "label": "Twin", "stages": []},
        {"id": "8", "label": "twin", "stages": []},
        {"id": "9", "label": "Gone", "archived": True, "stages": []},
        {"label": "no id"},
        "noise",
    ]
}

STAGES = {"sale": "Won", "lead": "New", "signup": "New", "custom": "20"}


class Helpers:
    """Constants and helpers of the tests in this folder."""

    AT = AT
    TOKEN = TOKEN
    PIPELINES = PIPELINES
    STAGES = STAGES
    written = staticmethod(written)
    reply = staticmethod(reply)
    refusal = staticmethod(refusal)
    item_error = staticmethod(item_error)
    sale = staticmethod(sale)
    settings = staticmethod(settings_of)


@pytest.fixture(scope="session")
def hs() -> type[Helpers]:
    return Helpers


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def make_sink(wire: Wire):
    def make(**more: Any) -> HubSpotSink:
        return HubSpotSink(settings_of(**more), transport=wire)

    return make


@pytest.fixture
def sink(make_sink) -> HubSpotSink:
    return make_sink()


@pytest.fixture(autouse=True)
def _forget_windows():
    _windows.clear()
