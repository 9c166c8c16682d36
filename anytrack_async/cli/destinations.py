"""`anytrack destinations`, `anytrack check` and `anytrack setup`, for every registered destination.

A new destination in the registry appears in all three commands.
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

from anytrack_async.cli.output import (
    BAD,
    FAILED,
    FAINT,
    GOOD,
    make_table,
    stdout_console,
    write_error,
    write_json,
)
from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.registry import (
    ANYTRACK,
    COLLECT,
    Destination,
    find_destination,
)
from anytrack_async.destinations.registry import destinations as registered_destinations
from anytrack_async.destinations.sink import (
    Finding,
    SetupStep,
    Sink,
    SupportsCheck,
    SupportsSetup,
)
from anytrack_async.errors import AnyTrackError, ConfigurationError

_Name = Annotated[
    str | None, typer.Argument(metavar="DESTINATION", help="Default: every configured destination.")
]


_NOT_CONFIGURED = "not configured"


@attrs.frozen
class _DestinationRow:
    """One row of `anytrack destinations`.

    Attributes:
        name: the destination's name.
        state: ``"configured"``, ``"not configured"``, or the problem with the variables.
        variables: environment variable → whether it is set.
    """

    name: str
    state: str
    variables: Mapping[str, bool]


def destinations(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """List all destinations and the environment variables that configure them."""
    rows = [_describe(destination) for destination in registered_destinations()]
    if as_json:
        write_json([attrs.asdict(row) for row in rows])
    else:
        stdout_console(wide=True).print(_table(rows))


def check(
    destination: _Name = None,
    currency: Annotated[
        list[str] | None, typer.Option(help="A currency of your conversions; repeatable.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds that the checks of a destination may take.")
    ] = 30.0,
) -> None:
    """Check that destinations will accept conversions: credentials, permissions, properties.

    Without DESTINATION, AnyTrack and every other configured one are
    checked, all at once. Records nothing that counts. Meta gets a test
    event, if META_TEST_EVENT_CODE is set. Exits with 1 if a check fails.
    """
    destinations = [*_select(destination)]
    if destination is None and not {ANYTRACK, COLLECT} & {entry.name for entry in destinations}:
        destinations.insert(0, find_destination(ANYTRACK))  # no client works without it
    findings = anyio.run(_check_all, destinations, currency or [], timeout)
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
    """Create the objects that destinations need, such as HubSpot's deal properties.

    Existing objects stay unchanged.
    """
    steps = [step for entry in _select(destination) for step in anyio.run(_set_up, entry, dry_run)]
    for step in steps:
        style = BAD if step.action == "refused" else GOOD
        stdout_console().print(Text(str(step), style), soft_wrap=True)
    if not steps:
        stdout_console().print("nothing to set up")
    if any(step.action == "refused" for step in steps):
        raise typer.Exit(FAILED)


def _select(name: str | None) -> Sequence[Destination]:
    """Return the destination called *name*, or every one that the environment configures.

    Raises:
        ConfigurationError: there is no such destination, or none is configured.
    """
    if name is not None:
        return [find_destination(name)]
    configured = [
        destination
        for destination in registered_destinations()
        if _state(destination) != _NOT_CONFIGURED
    ]
    if not configured:
        raise ConfigurationError(
            "no destination is configured; `anytrack destinations` lists the variables to set"
        )
    return configured


def _describe(destination: Destination) -> _DestinationRow:
    try:
        variables = destination.sink_class().variables
    except ConfigurationError as exc:
        return _DestinationRow(destination.name, str(exc), {})
    # Only whether a variable is set: its value may be a token.
    are_set = {name: bool(os.environ.get(name)) for name in variables}
    return _DestinationRow(destination.name, _state(destination), are_set)


def _state(destination: Destination) -> str:
    """Return ``"configured"``, ``"not configured"``, or the problem with the variables."""
    try:
        # A sink opens no connection before its first delivery, so this sink needs no closing.
        sink = destination.sink_from_env()
    except ConfigurationError as exc:
        return str(exc)
    return _NOT_CONFIGURED if sink is None else "configured"


async def _check_all(
    destinations: Sequence[Destination], currencies: Sequence[str], timeout: float
) -> Mapping[str, Sequence[Finding]]:
    """Check *destinations* at once; return destination → findings, in their order."""
    findings: dict[str, Sequence[Finding]] = {destination.name: () for destination in destinations}

    async def run_check(destination: Destination) -> None:
        findings[destination.name] = await _check(destination, currencies, timeout)

    async with anyio.create_task_group() as tg:
        for destination in destinations:
            tg.start_soon(run_check, destination)
    return findings


async def _check(
    destination: Destination, currencies: Sequence[str], timeout: float
) -> Sequence[Finding]:
    """Return the findings about *destination*; a failure is one too, and hides no other."""
    try:
        async with _open_sink(destination) as sink:
            if not isinstance(sink, SupportsCheck):
                return [_finding("settings", "complete; nothing else to check", ok=True)]
            with anyio.move_on_after(timeout):
                return await sink.check(currencies=currencies)
    except ConfigurationError as exc:
        return [_finding("settings", str(exc))]
    except (AnyTrackError, OSError) as exc:
        return [_finding("check", str(exc))]
    except Exception as exc:  # the sink may be another package's
        return [_finding("check", f"{destination}: {safe_description(exc)}")]
    return [
        _finding(
            "check",
            f"no complete result within {timeout:g} s: check the network and the URL of "
            f"{destination.name}, or allow more with --timeout",
        )
    ]


def _finding(name: str, message: str, *, ok: bool = False) -> Finding:
    return Finding(name=name, ok=ok, message=message)


async def _set_up(destination: Destination, dry_run: bool) -> Sequence[SetupStep]:
    async with _open_sink(destination) as sink:
        return await sink.setup(dry_run=dry_run) if isinstance(sink, SupportsSetup) else ()


@asynccontextmanager
async def _open_sink(destination: Destination) -> AsyncIterator[Sink]:
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


def _table(rows: Iterable[_DestinationRow]) -> Table:
    table = make_table("destination", "state", "variables that are set", "not set")
    for row in rows:
        present = " ".join(name for name, is_set in row.variables.items() if is_set)
        missing = " ".join(name for name, is_set in row.variables.items() if not is_set)
        table.add_row(Text(row.name), Text(row.state), Text(present), Text(missing, FAINT))
    return table


def _show_findings(destination: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        sign = ("ok   ", GOOD) if finding.ok else ("FAIL ", BAD)
        line = Text.assemble(sign, f"{destination}: {finding.name}: {finding.message}")
        stdout_console().print(line, soft_wrap=True)
    # The hint goes to standard error: standard output has exactly one line per finding.
    if any(finding.setup for finding in findings if not finding.ok):
        write_error(f"create what is missing with: anytrack setup {destination}", label="hint")
