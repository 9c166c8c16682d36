"""`/_sandbox`: the ledger, and commands that change the sandbox while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import attrs
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anytrack_async.sandbox.faults import Faults, FaultyService, Outage

if TYPE_CHECKING:
    from anytrack_async.sandbox.app import SandboxApp

Command = Callable[["SandboxApp", dict[str, Any]], None]


def control_app(sandbox: SandboxApp) -> Starlette:
    """Return the control endpoints of *sandbox*.

    `GET /_sandbox/health` · `GET /_sandbox/ledger[?ids=1]` ·
    `GET /_sandbox/payloads[?service=meta&masked=0]` · `POST /_sandbox/{reset, down,
    credentials, faults, latency}` with a JSON object. A command without a `service` applies to all
    three. Injected faults and outages never apply to these endpoints.
    """

    async def ledger(request: Request) -> Response:
        ids = request.query_params.get("ids", "0") not in ("", "0", "false")
        return _json(sandbox.ledger.as_dict(ids=ids))

    async def payloads(request: Request) -> Response:
        masked = request.query_params.get("masked", "1") not in ("", "0", "false")
        entries = sandbox.payloads.read(request.query_params.get("service"), masked=masked)
        return _json([attrs.asdict(entry) for entry in entries])

    async def health(_: Request) -> Response:
        return _json({"status": "ok"})

    async def command(request: Request) -> Response:
        body = await request.body()
        try:
            _COMMANDS[request.path_params["command"]](sandbox, _parse_object(body))
        # Commands read their fields without checks; a missing or wrong one ends here.
        except (TypeError, ValueError, LookupError) as exc:
            return _json({"error": f"{type(exc).__name__}: {exc}"}, 400)
        return _json({"status": "ok"})

    routes = [
        Route("/_sandbox/health", health),
        Route("/_sandbox/ledger", ledger),
        Route("/_sandbox/payloads", payloads),
        Route("/_sandbox/{command}", command, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _parse_object(body: bytes) -> dict[str, Any]:
    data = orjson.loads(body or b"{}")
    if not isinstance(data, dict):
        raise TypeError("the body must be an object")
    return data


def _json(data: object, status: int = 200) -> Response:
    return Response(orjson.dumps(data), status, media_type="application/json")


def _services(sandbox: SandboxApp, data: dict[str, Any]) -> list[FaultyService]:
    name = data.get("service")
    return list(sandbox.services.values()) if name is None else [sandbox.services[name]]


def _reset(sandbox: SandboxApp, _: dict[str, Any]) -> None:
    sandbox.reset()


def _down(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    outage = data.get("how", "503")
    if outage not in get_args(Outage):
        raise ValueError(f"how must be one of {get_args(Outage)}")
    for service in _services(sandbox, data):
        service.outage = outage if data.get("down", True) else None


def _credentials(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    sandbox.services[data["service"]].service.set_tokens(tuple(data["accept"]))


def _faults(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    # `Faults` validates its fields; an unknown one is a TypeError.
    sandbox.inject(Faults(**data))


def _latency(sandbox: SandboxApp, data: dict[str, Any]) -> None:
    seconds = float(data["seconds"])
    for service in _services(sandbox, data):
        service.latency = seconds


_COMMANDS: dict[str, Command] = {
    "reset": _reset,
    "down": _down,
    "credentials": _credentials,
    "faults": _faults,
    "latency": _latency,
}
