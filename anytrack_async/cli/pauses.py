"""`anytrack outbox pause` and `resume`: every program on the outbox obeys within a few seconds."""

from __future__ import annotations

import getpass
import time
from typing import Annotated

import anyio
import typer

from anytrack_async.cli.outbox import open_outbox, outbox_location
from anytrack_async.cli.output import stdout_console
from anytrack_async.cli.selection import OutboxOption, check_destination
from anytrack_async.client.locations import OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.pauses import Pause, read_pauses, save_pause

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The destination's name.")]


def pause(
    name: NameArgument,
    reason: Annotated[
        str, typer.Option(metavar="REASON", help="Why, for readers of the status.")
    ] = "",
    by: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Who pauses it.", show_default="the user of this computer"
        ),
    ] = "",
    outbox: OutboxOption = None,
) -> None:
    """Send a destination nothing until it is resumed; conversions wait for it meanwhile.

    Every program on the outbox stops sending within a few seconds, after
    requests in flight have ended. A restart does not end the pause.
    """
    order = Pause(destination=name, since=time.time(), by=by or _user(), reason=reason)
    anyio.run(_save, outbox_location(outbox), name, order)
    text = f"{name}: {order}; anytrack outbox resume {name} ends it"
    stdout_console().print(text, markup=False, soft_wrap=True)


def resume(name: NameArgument, outbox: OutboxOption = None) -> None:
    """End the pause of a destination, also if another user paused it."""
    was_paused = anyio.run(_save, outbox_location(outbox), name, None)
    text = "is sent conversions again" if was_paused else "was not paused"
    stdout_console().print(f"{name} {text}", markup=False, soft_wrap=True)


async def _save(location: OutboxLocation, name: str, order: Pause | None) -> bool:
    """Store the pause, or end it; return whether the destination was paused."""
    async with open_outbox(location) as outbox:
        await check_destination(outbox, name)
        was_paused = bool(await read_pauses(outbox, [name]))
        if not await save_pause(outbox, name, order):
            raise ConfigurationError("this outbox cannot keep pauses: it keeps no checkpoints")
        return was_paused


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container without an entry for the user
        return ""
