"""`anytrack sandbox` runs local stand-ins; `anytrack demo` tracks the sample to them.

The demo has an outbox on disk, and audits at the end that each conversion arrived once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any

import anyio
import typer

from anytrack_async.cli.console import (
    CONSOLE_HOST,
    CONSOLE_PORT,
    free_listener,
    make_console,
    serve_console,
)
from anytrack_async.cli.output import (
    FAILED,
    INTERRUPTED,
    hide_warnings,
    sandbox_module,
    stdout_console,
    write_error,
)
from anytrack_async.cli.signals import interruptible
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import OUTBOX_VARIABLE
from anytrack_async.demo.audit import Audit, FinalState, Tally, audit
from anytrack_async.demo.display import show_intro, show_next_steps, show_progress, show_result
from anytrack_async.demo.sample import sample
from anytrack_async.destinations.anytrack.settings import COLLECT_VARIABLE
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import DeadLetter
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry

SERVICES = ("anytrack", "meta", "hubspot")

_PAGE_SIZE = 500
# Many attempts and short pauses: the services are on this machine.
_DELIVERY = DeliverySettings(
    retry=Retry(attempts=1_000, base=0.05, cap=0.5, hint_cap=0.25),
    probe=Retry(base=0.05, cap=0.5),
    poll=0.1,
    drain=3.0,
)


def demo(
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Lines to track.")] = 1000,
    faults: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of requests that fail on purpose.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Selects the requests that fail; repeat it to repeat a run.")
    ] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with the outbox.")] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Use AnyTrack's collect URL, without an API key.")
    ] = False,
    postgres: Annotated[
        bool,
        typer.Option(
            "--postgres", help="Three workers on one backlog in PostgreSQL; one is killed."
        ),
    ] = False,
    console: Annotated[
        bool, typer.Option("--console", help="Show the deliveries in a browser at the end.")
    ] = False,
) -> None:
    """Track sample conversions to local stand-ins and compare both sides' counts.

    Needs no account and no network. Exits with 0 only if every line is accounted for.
    """
    module = sandbox_module()
    if postgres:
        _demo_postgres(module, count)
        return
    settings = module.SandboxSettings(
        seed=seed, faults=module.Faults(rate=faults, seed=seed, latency=0.05)
    )
    terminal = stdout_console()
    with _temporary_folder(keep=keep) as folder, module.running(settings) as services:
        show_intro(terminal, count, services.url, faults)
        outbox, environ = folder / "outbox.db", services.environment(collect=collect)
        result = _track_and_audit(services, environ, outbox, count)
        show_next_steps(terminal, outbox if keep else None)
        if console:
            with hide_warnings():
                anyio.run(_show_console, environ, outbox)
        if result.problems:
            raise typer.Exit(FAILED)


def _track_and_audit(services: Any, environ: Mapping[str, str], outbox: Path, count: int) -> Audit:
    terminal, tally = stdout_console(), Tally(count, SERVICES)
    with hide_warnings(), show_progress(terminal, tally):
        state = anyio.run(track_sample, environ, outbox, tally)
    by_order_id = [ANYTRACK] if COLLECT_VARIABLE in environ else []
    result = audit(tally, state, services.ledger(ids=True), by_order_id=by_order_id)
    show_result(terminal, tally, result)
    return result


def _demo_postgres(module: Any, count: int) -> None:
    from anytrack_async.demo.fleet import database, run_fleet

    # Late replies, so that there is time to kill a worker.
    faults = module.Faults(rate=0.9, kinds=("latency",), latency=0.2)
    settings = module.SandboxSettings(faults=faults)
    console = stdout_console()
    address = os.environ.get(OUTBOX_VARIABLE)
    with (
        _temporary_folder(keep=False) as folder,
        database(folder, address) as dsn,
        module.running(settings) as services,
    ):
        environ = services.environment()
        variables = {k: v for k, v in environ.items() if k.startswith("ANYTRACK_")}
        say = partial(console.print, markup=False, soft_wrap=True)
        result = anyio.run(run_fleet, dsn, variables, count, say)
        ledger = services.ledger()["anytrack"]
    twice = ledger["accepted"] - ledger["unique"]
    say(
        f"{ledger['unique']:,} of {count:,} conversions arrived in {result.seconds:.1f} s; "
        f"{twice:,} were sent twice, of the {result.in_flight:,} in flight when a worker was killed"
    )
    if ledger["unique"] != count or result.waiting:
        raise typer.Exit(FAILED)


async def track_sample(environ: Mapping[str, str], outbox: Path, tally: Tally) -> FinalState:
    """Track every line of the sample; return the outbox's state once all have a report.

    Args:
        environ: variables that point a client at the sandbox.
        outbox: path of the outbox file.
        tally: counts lines, events and reports.
    """
    client = AnyTrackClient.from_env(
        {**environ, "ANYTRACK_OUTBOX": str(outbox)},
        delivery=_DELIVERY,
        observers=[tally],
        log=False,
    )
    # Quiet: what waits is invented, and the sandbox that it is for ends with the demo.
    async with interruptible(client, str(outbox), quiet=True):
        async for report in client.track_many(tally.read(sample(tally.size))):
            tally.report(report)
        dead_letters = [letter async for letter in _dead_letters(client.outbox)]
        return FinalState(stats=await client.stats(), dead_letters=tuple(dead_letters))


async def _show_console(environ: Mapping[str, str], outbox: Path) -> None:
    """Serve the console of the demo's outbox until Ctrl-C, with a client that delivers replays."""
    client = AnyTrackClient.from_env(
        {**environ, "ANYTRACK_OUTBOX": str(outbox)}, delivery=_DELIVERY, log=False
    )
    application, gate = make_console(client, admin=True, host=CONSOLE_HOST)
    listener = free_listener(CONSOLE_HOST, CONSOLE_PORT)
    async with client:
        await serve_console(application, gate, listener)


async def _dead_letters(outbox: Outbox) -> AsyncIterator[DeadLetter]:
    after = 0
    while page := await outbox.dead_letters(after=after, limit=_PAGE_SIZE):
        for letter in page:
            yield letter
        after = page[-1].seq


@contextmanager
def _temporary_folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="anytrack-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            rmtree(folder, ignore_errors=True)


# The sandbox


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 8400,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    faults: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of requests that fail on purpose.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Selects the requests that fail; repeat it to repeat a run.")
    ] = 0,
    unprepared: Annotated[
        bool,
        typer.Option(
            "--unprepared", help="Start HubSpot without the properties that `setup` creates."
        ),
    ] = False,
) -> None:
    """Serve stand-ins for AnyTrack, Meta and HubSpot until Ctrl-C.

    Prints export lines for a shell: clients started from that shell use the stand-ins.
    """
    module = sandbox_module()
    settings = module.SandboxSettings(
        seed=seed,
        faults=module.Faults(rate=faults, seed=seed),
        hubspot=module.HubSpotPortal(prepared=not unprepared),
    )
    try:
        module.serve(settings, host=host, port=port, echo=_print_line)
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else exc
        write_error(f"cannot listen on {host} port {port}: {reason}; try another --port")
        raise typer.Exit(FAILED) from None
    # `serve` returns only when it is interrupted.
    raise typer.Exit(INTERRUPTED)


def _print_line(line: str) -> None:
    if line.startswith("export ANYTRACK_COLLECT_URL="):
        # As a comment: with it, conversions would go there instead of the REST API.
        typer.echo(f"# or, without an API key:  {line}")
        return
    if line.startswith("export "):
        typer.echo(line)
        return
    typer.echo(f"# {line}; press Ctrl-C to stop")
    # With an e-mail address, because Meta rejects an event that identifies no customer.
    typer.echo("# Paste these lines into another shell, then try:")
    typer.echo("#   anytrack track lead --email somebody@example.com")
