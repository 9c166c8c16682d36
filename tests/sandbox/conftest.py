"""A sandbox in this process, and callers with each service's address and token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from anytrack_async.sandbox import (
    HubSpotPortal,
    Sandbox,
    SandboxApp,
    SandboxSettings,
    create_app,
    running,
)

NOON = 1_790_942_400.0  # 2026-10-02T12:00:00Z


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Caller:
    """Calls one service of an application, with valid credentials by default."""

    def __init__(self, app: SandboxApp, base: str, headers: dict[str, str]) -> None:
        self.app = app
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=f"http://sandbox{base}", headers=headers
        )

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(path, params=params)

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers=named)


class HubSpot(Caller):
    """Calls HubSpot, and makes deals."""

    deals = "/crm/objects/2026-09/deals"
    contacts = "/crm/objects/2026-09/contacts"

    @staticmethod
    def deal(event_id: str, trace: str | None = "same", **values: str) -> dict[str, Any]:
        fixed = {"dealname": "Conversion 1", "dealstage": "closedwon", "pipeline": "default"}
        item = {
            "id": event_id,
            "idProperty": "anytrack_event_id",
            "properties": {**fixed, **values},
            "objectWriteTraceId": event_id if trace == "same" else trace,
        }
        return {name: value for name, value in item.items() if value is not None}

    async def upsert(self, *inputs: dict[str, Any]) -> httpx.Response:
        return await self.post(f"{self.deals}/batch/upsert", {"inputs": inputs})

    async def upsert_contacts(self, *emails: str, **values: str) -> httpx.Response:
        inputs = [
            {"id": e, "idProperty": "email", "objectWriteTraceId": e, "properties": values}
            for e in emails
        ]
        return await self.post(f"{self.contacts}/batch/upsert", {"inputs": inputs})


class Meta(Caller):
    """Calls Meta, and makes events."""

    events = "/v26.0/1234567890/events"

    @staticmethod
    def event(**changes: Any) -> dict[str, Any]:
        event = {
            "event_name": "Purchase",
            "event_time": int(NOON),
            "event_id": "e1",
            "action_source": "website",
            "user_data": {"em": ["a" * 64]},
            "custom_data": {"value": 9.9, "currency": "EUR"},
            **changes,
        }
        return {name: value for name, value in event.items() if value is not None}

    async def send(self, *events: Any, **parameters: Any) -> httpx.Response:
        return await self.post(self.events, {"data": events, **parameters})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Callable[..., SandboxApp]:
    """Return a function that makes an application with other settings."""

    def make_app(**settings: Any) -> SandboxApp:
        return create_app(SandboxSettings(**settings), clock=clock)

    return make_app


@pytest.fixture
def app(make: Callable[..., SandboxApp]) -> SandboxApp:
    return make()


@pytest.fixture
def anytrack_of() -> Callable[[SandboxApp], Caller]:
    """Return a function that makes a caller of an application's AnyTrack."""
    headers = {"Authorization": "Bearer sandbox-api-key", "X-Account-ID": "sandbox-account"}
    return lambda app: Caller(app, "/v1", headers)


@pytest.fixture
def anytrack(app: SandboxApp, anytrack_of: Callable[[SandboxApp], Caller]) -> Caller:
    return anytrack_of(app)


@pytest.fixture
def meta_of() -> Callable[[SandboxApp], Meta]:
    """Return a function that makes a caller of an application's Meta."""
    return lambda app: Meta(app, "", {"Authorization": "Bearer sandbox-meta-token"})


@pytest.fixture
def meta(app: SandboxApp, meta_of: Callable[[SandboxApp], Meta]) -> Meta:
    return meta_of(app)


@pytest.fixture
def hubspot_of() -> Callable[[SandboxApp], HubSpot]:
    """Return a function that makes a caller of an application's HubSpot."""
    return lambda app: HubSpot(app, "", {"Authorization": "Bearer sandbox-hubspot-token"})


@pytest.fixture
def hubspot(app: SandboxApp, hubspot_of: Callable[[SandboxApp], HubSpot]) -> HubSpot:
    return hubspot_of(app)


@pytest.fixture
def control(app: SandboxApp) -> Caller:
    return Caller(app, "/_sandbox", {})


@pytest.fixture(scope="session")
def process() -> Iterator[Sandbox]:
    with running(SandboxSettings(hubspot=HubSpotPortal(limit=10_000))) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(process: Sandbox) -> Sandbox:
    """Return the real server that all tests share, after a reset."""
    process.reset()
    return process


@pytest.fixture
def now() -> int:
    return int(time.time())
