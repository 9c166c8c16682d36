"""`anytrack backfill`: the conversions of files, or of a query, to every destination."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import anyio
import typer

from anytrack_async.backfilling.inspection import Inspection, inspect_source
from anytrack_async.backfilling.query import is_driver_error
from anytrack_async.backfilling.report import BackfillReport, Progress
from anytrack_async.backfilling.run import backfill as run_backfill
from anytrack_async.cli.backfill_options import CommandLine, Job, to_job, with_options
from anytrack_async.cli.backfill_progress import ProgressDisplay
from anytrack_async.cli.backfill_screens import (
    inspection_record,
    report_record,
    show_inspection,
    show_proposal,
    show_report,
    source_line,
)
from anytrack_async.cli.outbox import open_outbox
from anytrack_async.cli.output import (
    FAILED,
    MISUSED,
    Interrupted,
    stdout_console,
    write_error,
    write_json,
)
from anytrack_async.cli.signals import interruptible
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import OUTBOX_VARIABLE
from anytrack_async.client.locations import MEMORY, OutboxLocation
from anytrack_async.client.stats import DestinationStats
from anytrack_async.delivery.flow import LaneState
from anytrack_async.errors import (
    ConfigurationError,
    QueueFullError,
    SchemaVersionError,
    UnknownFormatError,
)
from anytrack_async.outbox.base import Outbox

# Exit codes
_INCOMPLETE = 3
_STOPPED = 4
_NEEDS_OPERATOR = 5


@with_options
def backfill(options: CommandLine) -> None:
    """Send the conversions in files that shops and services export, safely, as often as you like.

    Running it twice over a file sends nothing twice. Begin with --inspect,
    then --dry-run. Progress goes to standard error.

    Exit codes: 0 everything was sent, 2 wrong usage or configuration,
    3 some rows were rejected or are dead letters, 4 interrupted, or a
    destination is full: go on with --resume, 5 a destination is paused or
    needs new credentials.
    """
    with _paths_named():
        _backfill_command(options)


def _backfill_command(options: CommandLine) -> None:
    job = to_job(options)
    read_only = options.dry_run or options.inspect
    path = _existing_path(options.outbox) if read_only else _outbox_path(options.outbox)
    try:
        if options.inspect:
            _inspect(job, path, as_json=options.as_json)
            return
        if not options.dry_run and not options.yes and _is_interactive():
            _ask(job, path)
        report = _run(job, path, as_json=options.as_json)
    except UnknownFormatError as exc:
        _propose(job, exc, as_json=options.as_json)
    except Exception as exc:
        if not is_driver_error(exc):
            raise
        write_error(f"the query failed: {exc}")
        raise typer.Exit(FAILED) from None
    _finish(report, as_json=options.as_json)


def _finish(report: BackfillReport, *, as_json: bool) -> None:
    """Write the report, and exit with its code."""
    if as_json:
        write_json(report_record(report))
    else:
        show_report(report)
    if code := _exit_code(report):
        raise typer.Exit(code)


@contextmanager
def _paths_named() -> Iterator[None]:
    """Turn the system's error about a path into a `ConfigurationError` with the reason."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError) as exc:
        if exc.filename is None:
            raise
        raise ConfigurationError(_path_problem(os.fsdecode(exc.filename), exc)) from None


def _path_problem(path: str, exc: OSError) -> str:
    if Path(path).is_dir():  # for which Windows raises PermissionError
        return f"{path} is a folder: name the files in it, e.g. {Path(path, '*.csv')}"
    if isinstance(exc, FileNotFoundError):
        return f"{path} does not exist: check the path"
    return f"{path} cannot be opened: check its permissions"


def _outbox_path(value: str | None) -> OutboxLocation:
    value = value or os.environ.get(OUTBOX_VARIABLE)
    if not value or value == MEMORY:
        raise ConfigurationError(
            f"name an outbox file, which remembers what was sent: set {OUTBOX_VARIABLE}, or use "
            "--outbox PATH; it is created if it does not exist"
        )
    location = OutboxLocation(value)
    if not location.is_database:
        _ = location.path  # raises if it is not usable
    return location


def _existing_path(value: str | None) -> OutboxLocation | None:
    """Return the outbox file in which to look for conversions accepted before, if it exists."""
    value = value or os.environ.get(OUTBOX_VARIABLE)
    location = OutboxLocation(value) if value and value != MEMORY else None
    if location is None or location.is_database or location.path.is_file():
        return location
    return None


def _exit_code(report: BackfillReport) -> int:
    destinations = report.destinations.values()
    stopped = (LaneState.HELD, LaneState.PAUSED)
    if any(item.state in stopped and item.waiting for item in destinations):
        return _NEEDS_OPERATOR
    dead = any(item.dead for item in destinations)
    rejected = report.counts.rejected or report.rejected_before
    return _INCOMPLETE if rejected or dead else 0


# The run


def _run(job: Job, path: OutboxLocation | None, *, as_json: bool) -> BackfillReport:
    display = ProgressDisplay()
    dry = job.settings.dry_run
    try:
        with display:
            if path is None or dry:
                return anyio.run(_dry_run, job, path, display)
            return anyio.run(_backfill, job, path, display)
    except _OutboxFull as exc:
        write_error(str(exc))
        _write_unfinished(display, "full", as_json=as_json)
        raise typer.Exit(exc.code) from None
    except (Interrupted, KeyboardInterrupt):
        _write_unfinished(display, "interrupted", as_json=as_json)
        advice = "nothing was sent" if dry else "go on with the same command and --resume"
        write_error(f"{display.summary or 'stopped'}; {advice}", label="interrupted")
        raise typer.Exit(_STOPPED) from None


def _write_unfinished(display: ProgressDisplay, stopped: str, *, as_json: bool) -> None:
    """Write as much of the report as is known, for programs."""
    if not as_json:
        return
    progress = display.latest or Progress(phase="reading")
    report = BackfillReport(
        counts=progress.counts,
        sources=(progress.source,) if progress.source else (),
        destinations=progress.destinations,
        stopped=stopped,
        seconds=progress.seconds,
    )
    write_json(report_record(report))


async def _backfill(job: Job, path: OutboxLocation, display: ProgressDisplay) -> BackfillReport:
    client = AnyTrackClient.from_env(outbox=path)
    async with interruptible(client, str(path)):
        try:
            return await run_backfill(client, **job.arguments, on_progress=display.update)
        except QueueFullError as exc:
            raise _stopped_by(exc, (await client.stats()).destinations) from None
    raise AssertionError("unreachable: a signal that ends the block raises Interrupted")


class _OutboxFull(Exception):  # noqa: N818 - the run can be resumed
    """A destination that takes no conversions has filled the outbox."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def _stopped_by(error: QueueFullError, destinations: Mapping[str, DestinationStats]) -> _OutboxFull:
    """Return why the run stopped: credentials that an operator has to replace, or a pause."""
    full = {name: destinations[name] for name in error.waiting if name in destinations}
    is_held = any(stats.state is LaneState.HELD for stats in full.values())
    states = [
        f"{name} has {stats.waiting:,} conversions waiting ({stats.state or 'no lane'}"
        f"{f': {stats.reason}' if stats.reason else ''})"
        for name, stats in full.items()
    ]
    advice = "replace its credentials, then" if is_held else "once it takes conversions again,"
    message = (
        f"the outbox is full: {'; '.join(states) or error}. What was accepted is safe: {advice} "
        "go on with the same command and --resume"
    )
    return _OutboxFull(message, _NEEDS_OPERATOR if is_held else _STOPPED)


async def _dry_run(
    job: Job, path: OutboxLocation | None, display: ProgressDisplay
) -> BackfillReport:
    async with _outbox(path) as outbox:
        return await run_backfill(
            _client(), **job.arguments, outbox=outbox, on_progress=display.update
        )


@asynccontextmanager
async def _outbox(path: OutboxLocation | None) -> AsyncIterator[Outbox | None]:
    if path is None:
        yield None
        return
    async with AsyncExitStack() as stack:
        try:
            outbox = await stack.enter_async_context(open_outbox(path))
        except SchemaVersionError as exc:  # a trial run before the first run
            write_error(f"rows that were accepted before are not marked: {exc}", label="note")
            outbox = None
        yield outbox


def _client() -> AnyTrackClient | None:
    """Return a client that is never opened, or None if the environment configures none."""
    try:
        return AnyTrackClient.from_env(outbox=MEMORY)
    except ConfigurationError as exc:
        write_error(f"no destination was checked: {exc}", label="note")
        return None


# Before the run


def _inspect(job: Job, path: OutboxLocation | None, *, as_json: bool) -> None:
    inspection = anyio.run(_first_rows, job, path)
    if as_json:
        write_json(inspection_record(inspection))
    elif inspection.guess is not None:
        show_proposal(inspection)
    else:
        show_inspection(inspection)
    if inspection.guess is not None:
        raise typer.Exit(MISUSED)


async def _first_rows(job: Job, path: OutboxLocation | None) -> Inspection:
    async with _outbox(path) as outbox:
        return await inspect_source(client=_client(), outbox=outbox, **job.arguments)


def _propose(job: Job, error: UnknownFormatError, *, as_json: bool) -> None:
    """Show a proposed mapping for a file that no preset fits, and exit with code 2."""
    if job.source == ["-"]:  # it cannot be read again for a proposal
        raise error
    inspection = anyio.run(partial(inspect_source, **job.arguments))
    if as_json:
        write_json(inspection_record(inspection))
    else:
        show_proposal(inspection)
    raise typer.Exit(MISUSED)


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _ask(job: Job, path: OutboxLocation | None) -> None:
    """Show the recognised format and the first row, and ask whether to send the file."""
    inspection = anyio.run(partial(inspect_source, rows=1, **job.arguments))
    if inspection.guess is not None:
        show_proposal(inspection)
        raise typer.Exit(MISUSED)
    names = job.settings.to or AnyTrackClient.from_env(outbox=MEMORY).limits
    stdout_console().print(source_line(inspection.info), soft_wrap=True)
    stdout_console().print(f"to {', '.join(names)}; outbox {path}", markup=False, soft_wrap=True)
    typer.confirm("Send its conversions?", abort=True)
