"""`anytrack hubspot`: get a portal ready, and see whether it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import anyio
import typer
from rich.text import Text

from anytrack_async.cli.guard import FAILED
from anytrack_async.cli.output import BAD, GOOD, complain, screen
from anytrack_async.errors import ConfigurationError
from anytrack_async.settings import HubSpotSettings
from anytrack_async.sinks import HubSpotSink

hubspot = typer.Typer(
    name="hubspot", no_args_is_help=True, help="Get a HubSpot portal ready for conversions."
)


@hubspot.command("setup")
def setup(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be created.")
    ] = False,
) -> None:
    """Create the deal properties that conversions are written to; what exists stays as it is.

    Needs the scope crm.schemas.deals.write.
    """
    steps = anyio.run(_set_up, dry_run)
    for ok, text in steps:
        screen().print(Text(text, GOOD if ok else BAD), soft_wrap=True)
    if not all(ok for ok, _ in steps):
        raise typer.Exit(FAILED)


@hubspot.command("check")
def check(
    currency: Annotated[
        list[str] | None, typer.Option(help="A currency your conversions have; repeatable.")
    ] = None,
) -> None:
    """See whether token, scopes, properties, stages and currencies are as needed; write nothing."""
    findings = anyio.run(_examine, currency or [])
    for ok, text in findings:
        line = Text.assemble(("ok   ", GOOD) if ok else ("FAIL ", BAD), text)
        screen().print(line, soft_wrap=True)
    wrong = [text for ok, text in findings if not ok]
    if any(text.startswith("property ") for text in wrong):
        complain("create the properties with: anytrack hubspot setup", label="hint")
    if wrong:
        raise typer.Exit(FAILED)


async def _set_up(dry_run: bool) -> list[tuple[bool, str]]:
    async with _sink() as sink:
        return [(step.action != "refused", str(step)) for step in await sink.setup(dry_run=dry_run)]


async def _examine(currencies: Sequence[str]) -> list[tuple[bool, str]]:
    async with _sink() as sink:
        found = await sink.check(currencies=currencies)
        return [(one.ok, f"{one.name}: {one.message}") for one in found]


@asynccontextmanager
async def _sink() -> AsyncIterator[HubSpotSink]:
    settings = HubSpotSettings.from_env()
    if settings is None:
        raise ConfigurationError("set HUBSPOT_ACCESS_TOKEN in the environment")
    sink = HubSpotSink(settings)
    try:
        yield sink
    finally:
        await sink.aclose()
