"""The ASGI application: finds the service for a path and sends its reply.

Plain ASGI for the services, because AnyTrack takes one request per conversion and the sandbox
shares the machine with the client under test; the control endpoints use Starlette.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from anytrack_async.sandbox.anytrack.service import AnyTrackService
from anytrack_async.sandbox.control import control_app
from anytrack_async.sandbox.faults import SERVICES, Faults, FaultSequence, FaultyService, HangUp
from anytrack_async.sandbox.hubspot.service import HubSpotService
from anytrack_async.sandbox.ledger import Ledger
from anytrack_async.sandbox.meta.service import MetaService
from anytrack_async.sandbox.payloads import PayloadLog
from anytrack_async.sandbox.request import Clock, Reply, Request, Service, json_reply
from anytrack_async.sandbox.settings import SandboxSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_META = re.compile(r"/v\d+\.\d+/")
_COLLECT = re.compile(r"(?:/assets)?/[^/]+/collect/[^/]+/?")
_HUBSPOT = ("/crm/", "/oauth/", "/events/", "/account-info/")


class SandboxApp:
    """The three services and their ledger.

    Attributes:
        settings: the initial set-up, to which `reset` returns.
        ledger: requests and conversions since the last reset.
        payloads: the latest requests.
        services: the services by name.
    """

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._control = control_app(self)
        self.reset()

    def reset(self) -> None:
        """Forget all data, and start again with the configured settings."""
        self.ledger, self.payloads = Ledger(SERVICES), PayloadLog()
        pages = self.ledger.pages
        services: dict[str, Service] = {
            "anytrack": AnyTrackService(self.settings, pages["anytrack"], self._clock),
            "meta": MetaService(self.settings, pages["meta"], self._clock),
            "hubspot": HubSpotService(self.settings, pages["hubspot"], self._clock),
        }
        faults = self.settings.faults
        self.services = {
            name: FaultyService(service, pages[name], FaultSequence(faults, name))
            for name, service in services.items()
        }

    def inject(self, faults: Faults) -> None:
        """Inject *faults* from now on, from the start of their seed."""
        for name, service in self.services.items():
            service.faults = FaultSequence(faults, name)

    def service_for(self, path: str) -> FaultyService | None:
        """Return the service that *path* belongs to."""
        if path.startswith("/v1/"):
            return self.services["anytrack"]
        if path.startswith(_HUBSPOT):
            return self.services["hubspot"]
        if _META.match(path):
            return self.services["meta"]
        return self.services["anytrack"] if _COLLECT.fullmatch(path) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        # The prefix decides: /v1/ is AnyTrack, /v26.0/ Meta, /crm/ and its siblings HubSpot;
        # /{property}/collect/{slug} is AnyTrack's collect endpoint.
        path: str = scope["path"]
        if path.startswith("/_sandbox/"):
            await self._control(scope, receive, send)
        elif service := self.service_for(path):
            await self._serve(service, scope, receive, send)
        else:
            await _send(json_reply(404, {"error": f"no service has the path {path}"}), send)

    async def _serve(
        self, service: FaultyService, scope: Scope, receive: Receive, send: Send
    ) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        request = Request(
            scope["method"], scope["path"], scope["query_string"], scope["headers"], body
        )
        fault = service.next_fault()
        # A client may disconnect meanwhile: the work is done all the same, as in a real service.
        if delay := service.delay(fault):
            await anyio.sleep(delay)
        reply, hang_up = service.respond(request, fault)
        status = 0 if reply is None else reply.status
        self.payloads.add(service.page.service, request, status, self._clock())
        if reply is not None:
            await _send(reply, send, more_body=hang_up is not None)
        if hang_up is not None:
            await _hang_up(scope, receive, hang_up)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the client disconnects before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(reply: Reply, send: Send, *, more_body: bool = False) -> None:
    start = {"type": "http.response.start", "status": reply.status, "headers": reply.all_headers}
    await send(start)
    await send({"type": "http.response.body", "body": reply.body, "more_body": more_body})


async def _hang_up(scope: Scope, receive: Receive, how: HangUp) -> None:
    hang_up = scope.get("state", {}).get("hang_up")
    if hang_up is None:
        # Another server than ours: an exception is the closest it has to a broken connection.
        raise ConnectionResetError("the sandbox closed the connection on purpose")
    hang_up(how)
    # uvicorn logs an error when an application returns without a complete response, but not
    # once the client has disconnected.
    while (await receive())["type"] != "http.disconnect":
        pass


def create_app(settings: SandboxSettings | None = None, *, clock: Clock = time.time) -> SandboxApp:
    """Return the sandbox as an ASGI application.

    Args:
        settings: the set-up; the defaults if None.
        clock: returns seconds since 1970; for tests that need another day.
    """
    return SandboxApp(settings or SandboxSettings(), clock)
