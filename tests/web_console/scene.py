"""`Scene`: a sandbox, a client with an outbox file, and its console, all on real sockets."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import uvicorn
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from anytrack_async import AnyTrackClient, DeliverySettings, Retry
from anytrack_async.sandbox import Sandbox
from anytrack_async.sandbox.server import in_thread
from anytrack_async.web_console.app import Console
from anytrack_async.web_console.console import console

DELIVERY = DeliverySettings(
    retry=Retry(attempts=1_000, base=0.2, cap=2.0),
    probe=Retry(base=0.2, cap=1.0),
    poll=0.1,
    drain=0.1,
)


@attrs.frozen
class Scene:
    """What runs.

    Attributes:
        url: the address of the console, with a slash at the end.
        client: the client; use it through `run` only.
        sandbox: the three services.
        outbox: path of the outbox file.
        console: the application.
    """

    url: str
    client: AnyTrackClient
    sandbox: Sandbox
    outbox: Path
    console: Console
    _portal: BlockingPortal

    def run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Call *function* in the event loop of the client; return its result."""
        return self._portal.call(function, *args)


@contextmanager
def running(
    folder: Path, *, mount: Callable[[Any], Any] | None = None, **options: Any
) -> Iterator[Scene]:
    """Run a scene.

    Args:
        folder: for the outbox file.
        mount: makes the application to serve from the console; default: the console itself.
        options: for `console`.
    """
    path = folder / "outbox.db"
    with in_thread() as sandbox, start_blocking_portal() as portal:
        client = AnyTrackClient.from_env(
            {**sandbox.environment(), "ANYTRACK_OUTBOX": str(path)}, delivery=DELIVERY, log=False
        )
        app = portal.call(_make, client, options)
        listener = socket.create_server(("127.0.0.1", 0))
        with portal.wrap_async_context_manager(client):
            served, server = portal.start_task(_serve, mount(app) if mount else app, listener)
            try:
                url = f"http://localhost:{listener.getsockname()[1]}/"
                yield Scene(url, client, sandbox, path, app, portal)
            finally:
                portal.call(app.feed.close)
                server.should_exit = True
                served.result()


async def _make(client: AnyTrackClient, options: dict[str, Any]) -> Any:
    return console(client, **options)


async def _serve(
    app: Any, listener: socket.socket, *, task_status: TaskStatus[uvicorn.Server]
) -> None:
    server = _Server(
        uvicorn.Config(
            app, lifespan="off", log_level="warning", ws="none", timeout_graceful_shutdown=1
        )
    )
    server.on_started = lambda: task_status.started(server)
    await server.serve([listener])


class _Server(uvicorn.Server):
    """A server that says when it has started, and leaves signals alone."""

    on_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
