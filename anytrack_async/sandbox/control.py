"""`/_sandbox`: what the sandbox saw, and what a test changes about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anytrack_async.sandbox.faults import Faults
from anytrack_async.sandbox.gate import Gate, Outage

if TYPE_CHECKING:
    from anytrack_async.sandbox.app import SandboxApp

Command = Callable[["SandboxApp", dict[str, Any]], None]


def control_app(sandbox: SandboxApp) -> Starlette:
    """Return the control endpoints of *sandbox*.

    `GET /_sandbox/health` · `GET /_sandbox/ledger[?ids=1]` · `POST /_sandbox/{reset, down,
    credentials, faults, latency}` with a JSON object. Without a `service` a command is for all
    three. Injected faults and outages never apply here.
    """

    async def ledger(request: Request) -> Response:
        ids = request.query_params.get("ids", "0") not in ("", "0", "false")
        return _json(sandbox.ledger.report(ids=ids))

    async def health(_: Request) -> Response:
        return _json({"status": "ok"})

    async def command(request: Request) -> Response:
        body = await request.body()
        try:
            _COMMANDS[request.path_params["command"]](sandbox, _object(body))
        except (TypeError, ValueError, LookupError) as exc:
            return _json({"error": f"{type(exc).__name__}: {exc}"}, 400)
        return _json({"status": "ok"})

    routes = [
        Route("/_sandbox/health", health),
        Route("/_sandbox/ledger", ledger),
        Route("/_sandbox/{command}", command, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _object(body: bytes) -> dict[str, Any]:
    data = orjson.loads(body or b"{}")
    if not isinstance(data, dict):
        raise TypeError("the body must be an object")
    return data


def _json(data: object, status: int = 200) -> Response:
    return Response(orjson.dumps(data), status, media_type="application/json")


def _gates(sandbox: SandboxApp, data: dict[str, Any]) -> list[Gate]:
    service = data.get("service")
    return list(sandbox.gates.values()) if service is None else [sandbox.gates[service]]


def _reset(sandbox: SandboxApp, _: dict[str, Any]) -> None:
    sandbox.reset()


def _down(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    how = data.get("how", "503")
    if how not in get_args(Outage):
        raise ValueError(f"how must be one of {get_args(Outage)}")
    for gate in _gates(sandbox, data):
        gate.down = how if data.get("down", True) else None


def _credentials(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    sandbox.gates[data["service"]].service.accept(tuple(data["accept"]))


def _faults(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    sandbox.inject(Faults(**data))


def _latency(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    seconds = float(data["seconds"])
    for gate in _gates(sandbox, data):
        gate.latency = seconds


_COMMANDS: dict[str, Command] = {
    "reset": _reset,
    "down": _down,
    "credentials": _credentials,
    "faults": _faults,
    "latency": _latency,
}
