"""`anytrack listen`: takes AnyTrack's webhooks and passes them on to other destinations."""

from __future__ import annotations

import os
import secrets
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from anytrack_async.cli.console import bind_or_exit
from anytrack_async.cli.output import stdout_console
from anytrack_async.cli.selection import OutboxOption
from anytrack_async.cli.signals import ended_by_sigterm, interruptible
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import OUTBOX_VARIABLE
from anytrack_async.client.environment import WEBHOOK_SECRET_VARIABLE
from anytrack_async.client.locations import MEMORY, OutboxLocation
from anytrack_async.destinations.anytrack.settings import collect_url, has_credentials
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.errors import ConfigurationError
from anytrack_async.listening.app import WebhookApp, checked_secrets
from anytrack_async.listening.settings import ListenSettings

if TYPE_CHECKING:
    import socket

_RateOption = Annotated[
    float,
    typer.Option(metavar="COUNT", min=0.01, help="Webhooks per second; more are answered 429."),
]
_ConnectionsOption = Annotated[
    int, typer.Option(metavar="COUNT", min=1, help="Connections at once; more are answered 503.")
]


def listen(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 8500,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    to: Annotated[
        str | None,
        typer.Option(
            metavar="DESTINATION,…", help="Only to these destinations; default: all but AnyTrack."
        ),
    ] = None,
    outbox: OutboxOption = None,
    rate: _RateOption = 10_000.0,
    connections: _ConnectionsOption = 1_000,
    events: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Take only these events; default: all.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of events that have none.")] = "USD",
) -> None:
    """Take AnyTrack's webhooks, and send the conversions on to Meta, HubSpot and others.

    In AnyTrack, give the webhook the URL https://HOST/SECRET, where
    ANYTRACK_WEBHOOK_SECRET has the secret. Put a proxy with TLS in front.

    A webhook is confirmed only when its conversion is in the outbox. Without
    an outbox file, undelivered conversions are lost when the process ends.
    """
    path = outbox or os.environ.get(OUTBOX_VARIABLE) or None
    names = _names(to)
    # A file may be shared with an application that tracks to AnyTrack: with its variables, this
    # process delivers there too, but does not ask for them.
    to_anytrack = bool(has_credentials() or collect_url()) or ANYTRACK in (names or ())
    client = AnyTrackClient.from_env(outbox=path, anytrack=to_anytrack)
    settings = ListenSettings(
        rate=rate, requests=connections, events=_names(events), currency=currency
    )
    app = WebhookApp(client, secret=_secrets(), to=names, settings=settings)
    listener = _bind(host, port)
    is_file = path is not None and path != MEMORY
    location = str(OutboxLocation(path)) if is_file and path else None
    arguments = (client, app, listener, location, connections)
    # With the extra [speed], uvloop answers about a third more webhooks per second.
    loop = {"use_uvloop": find_spec("uvloop") is not None}
    with ended_by_sigterm():
        anyio.run(_serve, *arguments, backend_options=loop)


async def _serve(
    client: AnyTrackClient,
    app: WebhookApp,
    listener: socket.socket,
    outbox: str | None,
    connections: int,
) -> None:
    from anytrack_async.listening.server import serve

    async with interruptible(client, outbox):
        host, port = listener.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        console = stdout_console()
        console.print(
            f"listening on http://{address}:{port}/<{WEBHOOK_SECRET_VARIABLE}>, {app!r}",
            markup=False,
            soft_wrap=True,
        )
        await serve(app, listener, connections=connections)


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind_or_exit(host, port)
    except ImportError:
        raise ConfigurationError(
            "anytrack listen needs uvicorn: pip install 'anytrack_async[listen]'"
        ) from None


def _secrets() -> list[str]:
    values = _names(os.environ.get(WEBHOOK_SECRET_VARIABLE))
    if not values:
        # On the command line, every user of the machine could see it.
        raise ConfigurationError(
            f"set {WEBHOOK_SECRET_VARIABLE} in the environment, e.g. to {secrets.token_urlsafe(24)}"
        )
    checked_secrets(values, name=WEBHOOK_SECRET_VARIABLE)
    return values


def _names(text: str | None) -> list[str] | None:
    names = [name.strip() for name in (text or "").split(",")]
    return [name for name in names if name] or None
