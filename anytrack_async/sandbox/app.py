"""The ASGI application: finds the service, lets the request through its gate, sends the answer.

Written as plain ASGI, because AnyTrack takes one request per conversion and a demo sends thousands
a second from the same machine; only the control endpoints go through Starlette.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from anytrack_async.sandbox.anytrack import AnyTrackService
from anytrack_async.sandbox.control import control_app
from anytrack_async.sandbox.faults import SERVICES, Faults, Injector
from anytrack_async.sandbox.gate import Farewell, Gate
from anytrack_async.sandbox.hubspot import HubSpotService
from anytrack_async.sandbox.ledger import Ledger
from anytrack_async.sandbox.meta import MetaService
from anytrack_async.sandbox.settings import SandboxSettings
from anytrack_async.sandbox.wire import Clock, Reply, Request, Service, json_reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_META = re.compile(r"/v\d+\.\d+/")
_HUBSPOT = ("/crm/", "/oauth/", "/events/", "/account-info/")


class SandboxApp:
    """The three services and their ledger.

    Attributes:
        settings: what the sandbox was made with; `reset` goes back to it.
        ledger: what arrived since the last reset.
        gates: the services by name.
    """

    def __init__(self, settings: SandboxSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._control = control_app(self)
        self.reset()

    def reset(self) -> None:
        """Forget everything and start as configured."""
        self.ledger = Ledger(SERVICES)
        accounts = self.ledger.accounts
        services: dict[str, Service] = {
            "anytrack": AnyTrackService(self.settings, accounts["anytrack"], self._clock),
            "meta": MetaService(self.settings, accounts["meta"], self._clock),
            "hubspot": HubSpotService(self.settings, accounts["hubspot"], self._clock),
        }
        faults = self.settings.faults
        self.gates = {
            name: Gate(service, accounts[name], Injector(faults, name))
            for name, service in services.items()
        }

    def inject(self, faults: Faults) -> None:
        """Inject *faults* from now on, from the start of their seed."""
        for name, gate in self.gates.items():
            gate.injector = Injector(faults, name)

    def gate(self, path: str) -> Gate | None:
        """Return the gate of the service *path* belongs to."""
        if path.startswith("/v1/"):
            return self.gates["anytrack"]
        if path.startswith(_HUBSPOT):
            return self.gates["hubspot"]
        return self.gates["meta"] if _META.match(path) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        if path.startswith("/_sandbox/"):
            await self._control(scope, receive, send)
        elif gate := self.gate(path):
            await _serve(gate, scope, receive, send)
        else:
            await _send(json_reply(404, {"error": f"no service has the path {path}"}), send)


async def _serve(gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
    body = await _read(receive)
    if body is None:
        return
    request = Request(scope["method"], scope["path"], scope["query_string"], scope["headers"], body)
    fault = gate.enter()
    if wait := gate.wait(fault):
        await anyio.sleep(wait)
    ending = gate.end(request, fault)
    if ending.reply is not None:
        await _send(ending.reply, send, more=ending.farewell is not None)
    if ending.farewell is not None:
        await _hang_up(scope, receive, ending.farewell)


async def _read(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(reply: Reply, send: Send, *, more: bool = False) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.fields})
    await send({"type": "http.response.body", "body": reply.body, "more_body": more})


async def _hang_up(scope: Scope, receive: Receive, farewell: Farewell) -> None:
    hang_up = scope.get("state", {}).get("hang_up")
    if hang_up is None:
        # Not our server: an error is the nearest thing to a dropped connection.
        raise ConnectionResetError("the sandbox dropped the connection")
    hang_up(farewell)
    # The server calls an application that returns early a bug and logs it; one whose client has
    # gone may return.
    while (await receive())["type"] != "http.disconnect":
        pass


def create_app(settings: SandboxSettings | None = None, *, clock: Clock = time.time) -> SandboxApp:
    """Return the sandbox as an ASGI application.

    Args:
        settings: how it is set up.
        clock: seconds since 1970, for tests that need another day.
    """
    return SandboxApp(settings or SandboxSettings(), clock)
