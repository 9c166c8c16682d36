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
from anytrack_async.destinations.hubspot.check import Finding
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.setup import Step
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.errors import ConfigurationError

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
    _show_steps(anyio.run(_set_up, dry_run))


@hubspot.command("check")
def check(
    currency: Annotated[
        list[str] | None, typer.Option(help="A currency your conversions have; repeatable.")
    ] = None,
) -> None:
    """See whether token, scopes, properties, stages and currencies are as needed; write nothing."""
    _show_findings(anyio.run(_examine, currency or []))


async def _set_up(dry_run: bool) -> Sequence[Step]:
    async with _sink() as sink:
        return await sink.setup(dry_run=dry_run)


async def _examine(currencies: Sequence[str]) -> Sequence[Finding]:
    async with _sink() as sink:
        return await sink.check(currencies=currencies)


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


def _show_steps(steps: Sequence[Step]) -> None:
    refused = [step for step in steps if step.action == "refused"]
    for step in steps:
        screen().print(Text(str(step), BAD if step in refused else GOOD), soft_wrap=True)
    if refused:
        raise typer.Exit(FAILED)


def _show_findings(findings: Sequence[Finding]) -> None:
    for one in findings:
        sign = ("ok   ", GOOD) if one.ok else ("FAIL ", BAD)
        screen().print(Text.assemble(sign, f"{one.name}: {one.message}"), soft_wrap=True)
    wrong = [one.name for one in findings if not one.ok]
    if any(name.startswith("property ") for name in wrong):
        complain("create the properties with: anytrack hubspot setup", label="hint")
    if wrong:
        raise typer.Exit(FAILED)
