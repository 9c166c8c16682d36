"""`anytrack reconcile`: compares AnyTrack's conversions with those that the outbox delivered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Annotated

import anyio
import attrs
import orjson
import typer
from rich.text import Text

from anytrack_async.cli import periods
from anytrack_async.cli.outbox import open_outbox, outbox_location
from anytrack_async.cli.output import GOOD, NOTE, stdout_console, write_error
from anytrack_async.cli.selection import OutboxOption, option, required_seconds
from anytrack_async.client.locations import OutboxLocation
from anytrack_async.client.reconcile import Difference, Reconciliation
from anytrack_async.client.reconcile import reconcile as compare

_DIFFERS = 3

_Margin = Annotated[
    str,
    option(
        "What the outbox accepted in the period may have happened so long before or after it; "
        "after a back-fill of old orders, state their age.",
        metavar="7d|400d",
    ),
]


def reconcile(
    first: periods.From = None,
    last: periods.To = None,
    margin: _Margin = "7d",
    outbox: OutboxOption = None,
    as_json: periods.Json = False,
) -> None:
    """Compare AnyTrack's conversions with those that the outbox delivered; list the differences.

    Sends and changes nothing. Exit codes: 0 they agree, 3 they differ.
    """
    location = outbox_location(outbox)
    period = periods.to_range(first, last)
    seconds = required_seconds(margin, "--margin")
    result = anyio.run(_reconcile, location, period, timedelta(seconds=seconds), as_json)
    if not as_json:
        _show(result)
    if result.differs:
        raise typer.Exit(_DIFFERS)


async def _reconcile(
    location: OutboxLocation,
    period: tuple[periods.Moment, periods.Moment],
    margin: timedelta,
    as_json: bool,
) -> Reconciliation:
    result = Reconciliation()
    write = _write_json if as_json else _write_lines
    async with open_outbox(location) as outbox, periods.reading_client() as client:
        differences = compare(client, outbox, period, result, margin)
        async with aclosing(differences):
            await write(differences, result)
    return result


async def _write_lines(differences: AsyncGenerator[Difference], _: Reconciliation) -> None:
    async for difference in differences:
        stdout_console().print(_line(difference), soft_wrap=True)


async def _write_json(differences: AsyncGenerator[Difference], result: Reconciliation) -> None:
    """Write one JSON document piece by piece; its list may be larger than the memory."""
    # Nothing is written before the first difference: AnyTrack's answers may fail until then.
    before = b'{"differences": ['
    async for difference in differences:
        typer.echo(before + b"\n  " + orjson.dumps(attrs.asdict(difference)), nl=False)
        before = b","
    opening = b"" if before == b"," else before
    typer.echo(opening + b'],\n"summary": ' + orjson.dumps(attrs.asdict(result)) + b"}")


def _line(difference: Difference) -> Text:
    names = [difference.event_id, difference.conversion_id]
    name = ", ".join(text for text in names if text)
    side = "AnyTrack" if difference.side == "anytrack" else "the outbox"
    return Text.assemble((f"only {side} has ", NOTE), name, f" ({difference.detail})")


def _show(result: Reconciliation) -> None:
    style = NOTE if result.differs else GOOD
    console = stdout_console()
    line = (
        f"AnyTrack has {result.anytrack:,} conversions of the period: {result.both:,} were "
        f"delivered by this outbox, {result.only_anytrack:,} were not; AnyTrack lacks "
        f"{result.only_outbox:,} that the outbox delivered"
    )
    console.print(Text(line, style), soft_wrap=True)
    if result.only_outbox and result.searched:
        first, last = result.searched
        write_error(
            f"AnyTrack was searched from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC; an "
            "older conversion, such as of a back-fill, is found with a longer --margin",
            label="note",
        )
    if result.forgotten:
        write_error(
            f"the outbox has forgotten the ids of its first {result.forgotten:,} conversions: it "
            "cannot say whether it delivered what only AnyTrack has",
            label="note",
        )
