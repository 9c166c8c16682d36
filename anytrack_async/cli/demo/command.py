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

from anytrack_async.cli.demo.audit import Audit, audit
from anytrack_async.cli.demo.backfill import Kept, back_fill
from anytrack_async.cli.demo.live import showing
from anytrack_async.cli.demo.tables import show_intro, show_next, show_result
from anytrack_async.cli.demo.tally import Tally
from anytrack_async.cli.output import FAILED, quiet, sandbox_module, screen

SERVICES = ("anytrack", "meta", "hubspot")


def demo(
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Lines to track.")] = 1000,
    faults: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of requests that fail on purpose.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Which requests fail; the same seed, the same.")] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with the outbox.")] = False,
) -> None:
    """Track 1,000 conversions to three stand-ins, and check their count against ours.

    Needs no account and no network. Ends with 0 only if every line is accounted for.
    """
    sandbox = sandbox_module()
    settings = sandbox.SandboxSettings(
        seed=seed, faults=sandbox.Faults(rate=faults, seed=seed, latency=0.05)
    )
    with _folder(keep=keep) as folder, sandbox.running(settings) as services:
        show_intro(screen(), count, services.url, faults)
        outbox, tally = folder / "outbox.db", Tally(count, SERVICES)
        kept = _fill(services.environment(), outbox, tally)
        _conclude(tally, audit(tally, kept, services.ledger(ids=True)), outbox if keep else None)


def _fill(environ: dict[str, str], outbox: Path, tally: Tally) -> Kept:
    with quiet(), showing(screen(), tally):
        return anyio.run(back_fill, environ, outbox, tally)


def _conclude(tally: Tally, found: Audit, kept: Path | None) -> None:
    show_result(screen(), tally, found)
    show_next(screen(), kept)
    if found.problems:
        raise typer.Exit(FAILED)


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="anytrack-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            rmtree(folder, ignore_errors=True)
