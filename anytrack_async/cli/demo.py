"""`anytrack demo`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Annotated

import anyio
import typer

from anytrack_async.cli.output import FAILED, quiet, sandbox_module, screen
from anytrack_async.demo.audit import Tally, audit
from anytrack_async.demo.backfill import track_sample
from anytrack_async.demo.display import show_intro, show_next_steps, show_progress, show_result

SERVICES = ("anytrack", "meta", "hubspot")


def demo(
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Lines to track.")] = 1000,
    faults: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of requests that fail on purpose.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Chooses the requests that fail; repeat it to repeat a run.")
    ] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with the outbox.")] = False,
) -> None:
    """Track 1,000 conversions to three stand-ins, and compare their counts with ours.

    Needs no account and no network. Exits with 0 only if every line is accounted for.
    """
    sandbox = sandbox_module()
    settings = sandbox.SandboxSettings(
        seed=seed, faults=sandbox.Faults(rate=faults, seed=seed, latency=0.05)
    )
    console = screen()
    with _temporary_folder(keep=keep) as folder, sandbox.running(settings) as services:
        show_intro(console, count, services.url, faults)
        outbox, tally = folder / "outbox.db", Tally(count, SERVICES)
        with quiet(), show_progress(console, tally):
            state = anyio.run(track_sample, services.environment(), outbox, tally)
        result = audit(tally, state, services.ledger(ids=True))
        show_result(console, tally, result)
        show_next_steps(console, outbox if keep else None)
        if result.problems:
            raise typer.Exit(FAILED)


@contextmanager
def _temporary_folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="anytrack-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            rmtree(folder, ignore_errors=True)
