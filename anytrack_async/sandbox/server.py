"""Running the sandbox: in this process, in a thread, or in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

import orjson
import uvicorn

from anytrack_async.sandbox.app import create_app
from anytrack_async.sandbox.handle import Sandbox, exports
from anytrack_async.sandbox.protocol import http_protocol
from anytrack_async.sandbox.settings import SandboxSettings

_GRACE = 10.0


class Server(uvicorn.Server):
    """uvicorn, which says when it listens.

    Attributes:
        url: where.
    """

    def __init__(
        self, settings: SandboxSettings, listener: socket.socket, ready: Callable[[str], None]
    ) -> None:
        config = uvicorn.Config(
            create_app(settings),
            http=http_protocol(),
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self._listener = listener
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        self._ready(self.url)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        super().run(sockets or [self._listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the address is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def serve(
    settings: SandboxSettings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8400,
    echo: Callable[[str], None],
) -> None:
    """Run the sandbox here until interrupted.

    Args:
        settings: how it is set up.
        host: an address of this machine.
        port: 0 takes a free one.
        echo: gets each line for the user: the address, and the `export` lines for a shell.

    Raises:
        OSError: the address is taken.
    """
    chosen = settings or SandboxSettings()

    def ready(url: str) -> None:
        for line in (f"Sandbox listening on {url}", *exports(chosen, url)):
            echo(line)

    # uvicorn stops in good order, then hands the interrupt on: that is how this is meant to end.
    with listen(host, port) as listener, suppress(KeyboardInterrupt):
        Server(chosen, listener, ready).run()


@contextmanager
def in_thread(settings: SandboxSettings | None = None, *, port: int = 0) -> Iterator[Sandbox]:
    """Run the sandbox in a thread: it starts at once, and shares the interpreter with you."""
    chosen = settings or SandboxSettings()
    listening = threading.Event()
    server = Server(chosen, listen("127.0.0.1", port), lambda _: listening.set())
    thread = threading.Thread(target=server.run, name="anytrack-sandbox", daemon=True)
    thread.start()
    listening.wait()
    try:
        yield Sandbox(server.url, chosen)
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def running(settings: SandboxSettings | None = None, *, port: int = 0) -> Iterator[Sandbox]:
    """Run the sandbox in a process of its own, so that it does not share your processor time.

    Raises:
        OSError: it could not start; the message is the process's own.
    """
    chosen = settings or SandboxSettings()
    # Its own session: Ctrl-C is for the caller, who may have work to finish against the sandbox.
    child = subprocess.Popen(
        [sys.executable, "-m", "anytrack_async.sandbox.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Sandbox(_start(child, {"port": port, "settings": chosen.as_dict()}), chosen)
    finally:
        _stop(child)


def _start(child: subprocess.Popen[bytes], order: dict[str, Any]) -> str:
    orders, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
    # By standard input, because arguments are visible to everybody on the machine.
    with suppress(BrokenPipeError):
        orders.write(orjson.dumps(order) + b"\n")
        orders.flush()
    line = answers.readline()
    said: dict[str, str] = orjson.loads(line) if line else {"error": "the sandbox did not start"}
    if "url" not in said:
        raise OSError(said["error"])
    return said["url"]


def _stop(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdin, child.stdout):
        with suppress(BrokenPipeError):
            cast("IO[bytes]", stream).close()
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
