"""`anytrack console`: the state of every delivery, in a browser."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from anytrack_async.cli.outbox import outbox_location
from anytrack_async.cli.output import FAILED, INTERRUPTED, stdout_console, write_error
from anytrack_async.cli.selection import OutboxOption
from anytrack_async.client.environment import CONSOLE_TOKEN_VARIABLE
from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.fields import is_loopback
from anytrack_async.web_console.console import console as web_console

if TYPE_CHECKING:
    from anytrack_async.web_console.app import Console

CONSOLE_HOST, CONSOLE_PORT = "127.0.0.1", 8090

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def console(
    outbox: OutboxOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 picks a free port.")
    ] = CONSOLE_PORT,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other machines need a token.")
    ] = CONSOLE_HOST,
    admin: Annotated[
        bool,
        typer.Option(
            "--admin", help="Allow to replay, correct and discard, and to see customers' data."
        ),
    ] = False,
) -> None:
    """Show the state of every delivery in a browser, until Ctrl-C.

    Reads the outbox, and works while no client runs. Customers' data is
    masked. With ANYTRACK_CONSOLE_TOKEN set, the console asks for that token;
    it must be set to listen on any address but 127.0.0.1.
    """
    location = outbox_location(outbox)
    application, gate = make_console(location, admin=admin, host=host)
    number = anyio.run(serve_console, application, gate, bind_or_exit(host, port))
    if number == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


def make_console(source: Any, *, admin: bool, host: str) -> tuple[Console, Any]:
    """Return the console of *source*, and around it the application that asks for the token.

    Raises:
        ConfigurationError: an extra is not installed, the token is too short, or there is none and
            *host* is not this machine.
    """
    application = web_console(source, admin=(lambda _: True) if admin else None)
    from anytrack_async.web_console.pages import login_page
    from anytrack_async.web_console.security import HostGate, TokenGate

    token = os.environ.get(CONSOLE_TOKEN_VARIABLE)
    if token:
        return application, TokenGate(application, token, login_page)
    if not is_loopback(host):
        raise ConfigurationError(
            f"other machines can reach {host}: set {CONSOLE_TOKEN_VARIABLE} in the environment, "
            f"e.g. to {secrets.token_urlsafe(24)}, and put a proxy with TLS in front"
        )
    return application, HostGate(application, _LOCAL_NAMES)


async def serve_console(application: Console, gate: Any, listener: socket.socket) -> int:
    """Serve *gate*, which leads to *application*, until SIGINT or SIGTERM; return its number."""
    from anytrack_async.listening.server import serve

    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    stdout_console().print(f"console on {address}; press Ctrl-C to stop", soft_wrap=True)
    if sys.platform == "win32":  # pragma: no cover - Ctrl-C raises KeyboardInterrupt there
        await serve(gate, listener)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tg:
            tg.start_soon(serve, gate, listener)
            number = await anext(signals)
            application.feed.close()  # or the server would wait for the streams
            tg.cancel_scope.cancel()
    with anyio.CancelScope(shield=True), anyio.move_on_after(5):
        await application.aclose()
    return number


def free_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket on *port*, or on a free one if *port* is taken."""
    from anytrack_async.listening.server import bind

    try:
        return bind(host, port)
    except OSError:
        return bind(host, 0)


def bind_or_exit(host: str, port: int) -> socket.socket:
    """Return a listening socket; if the port is taken, write why and exit with code 1."""
    from anytrack_async.listening.server import bind

    try:
        return bind(host, port)
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else exc
        write_error(f"cannot listen on {host} port {port}: {reason}; try another --port")
        raise typer.Exit(FAILED) from None
