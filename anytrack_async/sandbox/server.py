"""Running the sandbox: in this process, in a thread, or in a process of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from shlex import quote
from typing import IO, TYPE_CHECKING, Any, cast

import orjson
import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from anytrack_async.sandbox.app import create_app
from anytrack_async.sandbox.faults import HangUp
from anytrack_async.sandbox.sandbox import Sandbox, collect_url, exports
from anytrack_async.sandbox.settings import SandboxSettings

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as HTTPProtocol
else:
    HTTPProtocol = AutoHTTPProtocol  # httptools where it is installed, else h11

_STOP_TIMEOUT = 10.0
# SO_LINGER on, with zero seconds: the kernel resets the connection instead of closing it.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SandboxProtocol(HTTPProtocol):
    """uvicorn's HTTP protocol, with a way to break the connection.

    ASGI has no message for a reset or for half a reply. So each request's scope has a function
    ``state["hang_up"]`` that breaks its own connection.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Serve the connection of *transport*."""
        self.app_state = {**self.app_state, "hang_up": partial(_hang_up, transport)}
        super().connection_made(transport)


def _hang_up(transport: asyncio.Transport, how: HangUp) -> None:
    if how == "flush":
        transport.close()
        return
    if how == "reset" and not transport.is_closing():
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class Server(uvicorn.Server):
    """A uvicorn server that calls *on_ready* with its URL when it accepts connections.

    Attributes:
        url: its address.
    """

    def __init__(
        self, settings: SandboxSettings, listener: socket.socket, on_ready: Callable[[str], None]
    ) -> None:
        config = uvicorn.Config(
            create_app(settings),
            http=SandboxProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            access_log=False,
            log_level="warning",
            server_header=False,
            # Longer than the client's own: the client decides when an idle connection closes.
            timeout_keep_alive=60,
            # Requests that are late on purpose must not delay the end of a test.
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self._listener = listener
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, then report it."""
        await super().startup(sockets)
        self._on_ready(self.url)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit` is set or an interrupt arrives."""
        super().run(sockets or [self._listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use, or is not an address of this machine.
    """
    # A backlog for a client that opens all its connections at once.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def serve(
    settings: SandboxSettings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8400,
    echo: Callable[[str], None],
) -> None:
    """Run the sandbox in this process until interrupted.

    Args:
        settings: the set-up; the defaults if None.
        host: an address of this machine.
        port: 0 takes a free one.
        echo: receives each line for the user: the address, and the `export` lines for a shell.

    Raises:
        OSError: the address is in use.
    """
    settings = settings or SandboxSettings()

    def on_ready(url: str) -> None:
        for line in (f"Sandbox listening on {url}", *exports(settings, url)):
            echo(line)
        echo(f"export ANYTRACK_COLLECT_URL={quote(collect_url(settings, url))}")

    # uvicorn shuts down cleanly on Ctrl-C, then raises it again: the normal end of this function.
    with listen(host, port) as listener, suppress(KeyboardInterrupt):
        Server(settings, listener, on_ready).run()


@contextmanager
def in_thread(settings: SandboxSettings | None = None, *, port: int = 0) -> Iterator[Sandbox]:
    """Run the sandbox in a thread: quick to start, but it shares the interpreter with the caller.

    Raises:
        OSError: the port is in use.
    """
    settings = settings or SandboxSettings()
    ready = threading.Event()
    server = Server(settings, listen("127.0.0.1", port), lambda _: ready.set())
    thread = threading.Thread(target=server.run, name="anytrack-sandbox", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield Sandbox(server.url, settings)
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def running(settings: SandboxSettings | None = None, *, port: int = 0) -> Iterator[Sandbox]:
    """Run the sandbox in a process of its own, which takes no processor time from the caller's.

    Raises:
        OSError: the process could not start; the message is its own.
    """
    settings = settings or SandboxSettings()
    # A session of its own: Ctrl-C must reach only the caller, which may have to finish requests to
    # the sandbox.
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from anytrack_async.sandbox.server import serve_for_parent; serve_for_parent()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Sandbox(_start(child, {"port": port, "settings": settings.as_dict()}), settings)
    finally:
        _stop(child)


def serve_for_parent() -> None:
    """Serve in the process that `running` started, until standard input is closed.

    Settings arrive on standard input, the address goes out on standard output. The process ends
    when its standard input is closed, so it never outlives its parent, even a killed one.
    """
    options = orjson.loads(sys.stdin.buffer.readline())
    try:
        listener = listen("127.0.0.1", options["port"])
    except OSError as exc:
        _report(error=str(exc))
        return
    settings = SandboxSettings.from_dict(options["settings"])
    server = Server(settings, listener, lambda url: _report(url=url))
    threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
    server.run()


# One line of JSON in each direction: the options in, {"url": …} or {"error": …} out.
def _report(**message: str) -> None:
    with suppress(BrokenPipeError):  # the parent has ended already
        os.write(sys.stdout.fileno(), orjson.dumps(message) + b"\n")


def _stop_with_parent(server: Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


def _start(child: subprocess.Popen[bytes], options: dict[str, Any]) -> str:
    """Send *options* to *child* and return its URL."""
    stdin, stdout = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
    # On standard input: every user of the machine can see a process's arguments.
    with suppress(BrokenPipeError):
        stdin.write(orjson.dumps(options) + b"\n")
        stdin.flush()
    line = stdout.readline()
    reply: dict[str, str] = orjson.loads(line) if line else {"error": "the sandbox did not start"}
    if "url" not in reply:
        raise OSError(reply["error"])
    return reply["url"]


def _stop(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdin, child.stdout):
        with suppress(BrokenPipeError):
            cast("IO[bytes]", stream).close()
    try:
        child.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
