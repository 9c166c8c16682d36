"""`metrics_app`: an ASGI application with ``/metrics``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import anyio
import orjson

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.source import OutboxSource
from anytrack_async.client.stats import Stats
from anytrack_async.delivery.flow import LaneState
from anytrack_async.descriptions import safe_description
from anytrack_async.errors import AnyTrackError
from anytrack_async.monitoring.metrics import Backlog, exposition, read_backlog, require_prometheus
from anytrack_async.outbox.base import Outbox

_READ_WITHIN = 5.0
"""Seconds that reading the outbox may take. Prometheus gives up after ten."""

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_Reply: TypeAlias = tuple[int, str, bytes]
"""Status, content type and body."""


def metrics_app(source: AnyTrackClient | Outbox | str | os.PathLike[str]) -> MetricsApp:
    """Return an ASGI application with the metrics and the health of an outbox.

    Mount it under any path, with or without a lifespan, or serve it alone::

        app.mount("/anytrack", metrics_app(client))  # then scrape /anytrack/metrics

    * ``GET /metrics``: Prometheus's text format; `monitoring.metrics` lists the metrics.
    * ``GET /healthz``: 200 as long as the event loop answers.
    * ``GET /readyz``: 200 if the outbox can be read and the client is open, else 503; the body has
      the state of each lane. A lane that is held does not make a process unready: it still accepts
      conversions, and restarting it would not help.

    No answer has a customer's data or a secret.

    Args:
        source: a client; an outbox that is open; or the path of an outbox file, or the address of
            a database (``postgresql://…``), which the application opens with the first request. A
            path works while no client has the file open. If the file is encrypted,
            ``ANYTRACK_OUTBOX_KEYS`` has its keys.

    Raises:
        ConfigurationError: *source* is none of these, or ``prometheus-client`` is not installed
            (``pip install 'anytrack_async[metrics]'``).
    """
    require_prometheus()
    return MetricsApp(source)


class MetricsApp:
    """The application that `metrics_app` returns."""

    def __init__(self, source: AnyTrackClient | Outbox | str | os.PathLike[str]) -> None:
        self._source = OutboxSource(source, user="metrics_app")
        self._routes = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
        }

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            status, content_type, body = await self._reply(scope)
            headers = [
                (b"content-type", content_type.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
            ]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            content = b"" if scope["method"] == "HEAD" else body
            await send({"type": "http.response.body", "body": content})

    async def aclose(self) -> None:
        """Close the outbox file, if a request opened it; the next request opens it again."""
        await self._source.aclose()

    async def _lifespan(self, receive: _Receive, send: _Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                await self.aclose()
                return

    async def _reply(self, scope: _Scope) -> _Reply:
        # A framework that mounts the application leaves the prefix in the path or takes it off.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        route = self._routes.get(path)
        if route is None:
            paths = ", ".join(self._routes)
            return _json(404, {"error": f"not found; there is {paths}"})
        if scope["method"] not in ("GET", "HEAD"):
            return _json(405, {"error": "only GET and HEAD are allowed"})
        try:
            with anyio.fail_after(_READ_WITHIN):
                return await route()
        except TimeoutError:
            message = f"the outbox did not answer within {_READ_WITHIN:g} s"
        except AnyTrackError as exc:
            message = str(exc)
        except Exception as exc:  # the outbox may be third-party code
            message = safe_description(exc)
        return _json(503, {"status": "unavailable", "error": message})

    async def _health(self) -> _Reply:
        return _json(200, {"status": "ok"})

    async def _readiness(self) -> _Reply:
        backlog, stats = await self._read()
        lanes = {
            name: {"state": item.state, "reason": item.reason}
            for name, item in (stats.destinations.items() if stats else ())
            if item.state is not None
        }
        client = self._source.client
        if client is not None and not client.is_open:
            return _json(503, {"status": "unavailable", "error": "the client is not open"})
        held_lanes = [name for name, lane in lanes.items() if lane["state"] is LaneState.HELD]
        destinations = sorted(backlog.depths)
        pauses = {
            name: {"since": _iso(pause.since), "by": pause.by, "reason": pause.reason}
            for name, pause in backlog.pauses.items()
        }
        return _json(
            200,
            {
                "status": "ready",
                "destinations": destinations,
                "held": held_lanes,
                "paused": pauses,
                "lanes": lanes,
            },
        )

    async def _metrics(self) -> _Reply:
        return 200, _TEXT, exposition(*await self._read())

    async def _read(self) -> tuple[Backlog, Stats | None]:
        backlog = await read_backlog(await self._source.outbox())
        client = self._source.client
        return backlog, None if client is None else await client.stats()


def _iso(moment: float) -> str:
    """Return unix seconds as text, UTC; empty if they are no date."""
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def _json(status: int, content: object) -> _Reply:
    return status, _JSON, orjson.dumps(content)
