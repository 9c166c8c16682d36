"""`anytrack destinations`, `anytrack check` and `anytrack setup`, for every registered destination.

No destination is named here: a new one in the registry appears in all three commands.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import attrs
import typer
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.output import BAD, FAILED, FAINT, GOOD, complain, grid, screen, write_json
from anytrack_async.destinations.registry import Destination, find_destination
from anytrack_async.destinations.registry import destinations as registered_destinations
from anytrack_async.destinations.sink import (
    Finding,
    SetupStep,
    Sink,
    SupportsCheck,
    SupportsSetup,
)
from anytrack_async.errors import ConfigurationError

_Name = Annotated[
    str | None, typer.Argument(metavar="DESTINATION", help="Default: every configured one.")
]


_NOT_CONFIGURED = "not configured"


@attrs.frozen
class _Listed:
    """One row of `anytrack destinations`.

    Attributes:
        name: of the destination.
        state: ``"configured"``, ``"not configured"``, or the problem.
        variables: environment variable → whether it is set.
    """

    name: str
    state: str
    variables: Mapping[str, bool]


def destinations(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the destinations there are, and the environment variables that configure each."""
    rows = [_describe(destination) for destination in registered_destinations()]
    if as_json:
        write_json([attrs.asdict(row) for row in rows])
    else:
        screen(wide=True).print(_table(rows))


def check(
    destination: _Name = None,
    currency: Annotated[
        list[str] | None, typer.Option(help="A currency your conversions have; repeatable.")
    ] = None,
) -> None:
    """Check whether destinations will take conversions: credentials, permissions, prepared fields.

    Nothing that counts is written. Meta is sent a test event, under META_TEST_EVENT_CODE.
    """
    # All checks run before anything is shown, so that one failure hides no other destination.
    findings = {
        chosen.name: anyio.run(_check, chosen, currency or []) for chosen in _chosen(destination)
    }
    for name, results in findings.items():
        _show_findings(name, results)
    if not all(finding.ok for results in findings.values() for finding in results):
        raise typer.Exit(FAILED)


def setup(
    destination: _Name = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be created.")
    ] = False,
) -> None:
    """Create what destinations need, such as HubSpot's deal properties.

    What exists stays as it is.
    """
    steps = [
        step for chosen in _chosen(destination) for step in anyio.run(_set_up, chosen, dry_run)
    ]
    for step in steps:
        style = BAD if step.action == "refused" else GOOD
        screen().print(Text(str(step), style), soft_wrap=True)
    if not steps:
        screen().print("nothing to set up")
    if any(step.action == "refused" for step in steps):
        raise typer.Exit(FAILED)


def _chosen(name: str | None) -> Sequence[Destination]:
    """Return the destination called *name*, or every one that the environment configures.

    Raises:
        ConfigurationError: there is no such destination, or none is configured.
    """
    if name is not None:
        return [find_destination(name)]
    configured = [each for each in registered_destinations() if _state(each) != _NOT_CONFIGURED]
    if not configured:
        raise ConfigurationError(
            "no destination is configured; `anytrack destinations` lists the variables of each"
        )
    return configured


def _describe(destination: Destination) -> _Listed:
    try:
        variables = destination.sink_class().variables
    except ConfigurationError as exc:
        return _Listed(destination.name, str(exc), {})
    # Only whether: a value may be a token.
    are_set = {name: bool(os.environ.get(name)) for name in variables}
    return _Listed(destination.name, _state(destination), are_set)


def _state(destination: Destination) -> str:
    """Return ``"configured"``, ``"not configured"``, or the problem with the variables."""
    try:
        # A sink opens no connection before its first delivery, so this one needs no closing.
        sink = destination.sink_from_env()
    except ConfigurationError as exc:
        return str(exc)
    return _NOT_CONFIGURED if sink is None else "configured"


async def _check(destination: Destination, currencies: Iterable[str]) -> Sequence[Finding]:
    try:
        async with _opened(destination) as sink:
            if isinstance(sink, SupportsCheck):
                return await sink.check(currencies=currencies)
    except ConfigurationError as exc:
        return [Finding(name="settings", ok=False, message=str(exc))]
    return [Finding(name="settings", ok=True, message="complete; there is nothing else to check")]


async def _set_up(destination: Destination, dry_run: bool) -> Sequence[SetupStep]:
    async with _opened(destination) as sink:
        return await sink.setup(dry_run=dry_run) if isinstance(sink, SupportsSetup) else ()


@asynccontextmanager
async def _opened(destination: Destination) -> AsyncIterator[Sink]:
    sink = destination.sink_from_env()
    if sink is None:
        variables = ", ".join(destination.sink_class().variables)
        raise ConfigurationError(f"{destination.name} is not configured; it reads {variables}")
    try:
        yield sink
    finally:
        aclose: Any = getattr(sink, "aclose", None)
        if aclose is not None:
            await aclose()


def _table(rows: Iterable[_Listed]) -> Table:
    table = grid("destination", "state", "variables (set ones in bold)")
    for row in rows:
        styled = [Text(name, "bold" if is_set else FAINT) for name, is_set in row.variables.items()]
        table.add_row(Text(row.name), Text(row.state), Text(" ").join(styled))
    return table


def _show_findings(destination: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        sign = ("ok   ", GOOD) if finding.ok else ("FAIL ", BAD)
        line = Text.assemble(sign, f"{destination}: {finding.name}: {finding.message}")
        screen().print(line, soft_wrap=True)
    # A hint on standard error: standard output has nothing but one line per finding.
    if any(finding.setup for finding in findings if not finding.ok):
        complain(f"create what is missing with: anytrack setup {destination}", label="hint")
