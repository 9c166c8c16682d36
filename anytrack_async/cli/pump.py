"""`anytrack pump`: moves conversions from a stream of NATS JetStream into the outbox."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from anytrack_async.cli.output import stdout_console
from anytrack_async.cli.selection import OutboxOption
from anytrack_async.cli.signals import ended_by_sigterm, interruptible
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import OUTBOX_VARIABLE
from anytrack_async.client.locations import MEMORY, OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.feeds.jetstream.feed import JetStreamFeed
from anytrack_async.feeds.pump import PumpCounts
from anytrack_async.feeds.pump import pump as run_pump

_PRINT_EVERY = 1.0  # seconds, and only after a change

_RefusedOption = Annotated[
    str | None,
    typer.Option(metavar="SUBJECT", help="Subject of refused messages; default: SUBJECT.refused."),
]
_CredentialsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File with the credentials, as NATS's tools write it."),
]


def pump(
    server: Annotated[str, typer.Argument(help="Address of the NATS server: nats://HOST:PORT.")],
    stream: Annotated[str, typer.Option(metavar="NAME", help="Name of the stream.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="DESTINATION,…", help="Only to these destinations; default: all."),
    ] = None,
    outbox: OutboxOption = None,
    consumer: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the durable consumer that all pumps share.")
    ] = "anytrack",
    batch: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Messages at a time, at most.")
    ] = 500,
    refused: _RefusedOption = None,
    credentials: _CredentialsOption = None,
) -> None:
    """Move conversions from a stream of NATS JetStream into the outbox.

    It runs until Ctrl-C or SIGTERM, and delivers too. Any number of them may
    read one stream. A message is confirmed only when its conversion is in
    the outbox; one that is no conversion goes to SUBJECT.refused.
    """
    path = outbox or os.environ.get(OUTBOX_VARIABLE)
    if not path or path == MEMORY:
        raise ConfigurationError(
            "anytrack pump needs an outbox that outlasts it: give --outbox PATH, or set "
            f"{OUTBOX_VARIABLE}"
        )
    client = AnyTrackClient.from_env(outbox=path)
    options: dict[str, Any] = {} if credentials is None else {"user_credentials": str(credentials)}
    feed = JetStreamFeed(
        server, stream=stream, consumer=consumer, batch=batch, refused=refused, **options
    )
    names = None if to is None else [name.strip() for name in to.split(",")]
    progress = _Progress()
    try:
        with ended_by_sigterm():
            anyio.run(_pump, client, feed, names, str(OutboxLocation(path)), progress)
    finally:
        progress.print_now()


async def _pump(
    client: AnyTrackClient,
    feed: JetStreamFeed,
    to: list[str] | None,
    location: str,
    progress: _Progress,
) -> None:
    async with interruptible(client, location), feed:
        stdout_console().print(f"pumping from {feed!r}", markup=False, soft_wrap=True)
        failure: Exception | None = None
        async with anyio.create_task_group() as tg:
            tg.start_soon(progress.run)
            try:
                await run_pump(feed, client, to=to, counts=progress.counts)
            except Exception as exc:
                failure = exc  # raised below, where no group wraps it
            tg.cancel_scope.cancel()
        if failure is not None:
            raise failure


class _Progress:
    """Prints the counts of a pump when they have changed.

    Attributes:
        counts: the pump's counts so far.
    """

    def __init__(self) -> None:
        self.counts = PumpCounts()
        self._console = stdout_console()
        self._printed = ""

    async def run(self) -> None:
        """Print a line a second at most."""
        while True:
            await anyio.sleep(_PRINT_EVERY)
            self.print_now()

    def print_now(self) -> None:
        """Print the counts, if they have changed since the last line."""
        counts = self.counts
        parts = [f"{counts.accepted:,} accepted", f"{counts.repeats:,} repeats"]
        if counts.refused:
            parts.append(f"{counts.refused:,} refused")
        if counts.postponed:
            parts.append(f"{counts.postponed:,} postponed")
        line = " · ".join(parts)
        if line != self._printed and any((counts.accepted, counts.repeats, counts.refused)):
            self._printed = line
            self._console.print(line, markup=False, soft_wrap=True)
