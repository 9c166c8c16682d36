"""Conversions that end the process which sends them, as a segmentation fault does."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
from anyio import to_thread

from anytrack_async.sandbox import running
from tests.chaos.audit import SANDBOX, opened
from tests.chaos.trial import Round, Trial
from tests.chaos.workers import start
from tests.end_to_end import fatal_worker
from tests.end_to_end.shop import everything, sale


async def attack(trial: Trial) -> None:
    """Start a worker until it ends by itself; its fatal conversions must be dead letters then."""
    with running(SANDBOX) as sandbox:
        for round_ in trial.rounds():
            count = round_.random.randint(1, 4)
            numbers = round_.random.sample(range(fatal_worker.SALES), count)
            fatal = {sale(number).event_id for number in numbers}
            # Two crashes isolate the conversions, and the third attempt is the last one of each.
            environ, limit = sandbox.environment(), 2 + count + 1
            starts = await _start_until_done(environ, round_, fatal, limit)
            trial.count(fatal_conversions=count, crashes=starts - 1)
            if starts > limit:
                trial.lose(f"round {round_.number}: still ends after {limit} starts")
            await _check(trial, round_.folder / "outbox.db", fatal)


async def _start_until_done(
    environ: Mapping[str, str], round_: Round, fatal: set[str], limit: int
) -> int:
    """Return the number of starts after which a worker ended by itself; *limit* + 1 if none did."""
    environ = {**environ, "ANYTRACK_OUTBOX": str(round_.folder / "outbox.db")}
    for number in range(1, limit + 1):
        process = start(_work, environ, sorted(fatal))
        await to_thread.run_sync(process.join, abandon_on_cancel=True)
        if process.exitcode == 0:
            return number
    return limit + 1


def _work(environ: Mapping[str, str], fatal: Sequence[str]) -> None:
    logging.disable()
    os.environ.update(environ)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # it says "done"
    anyio.run(fatal_worker.main, fatal)


async def _check(trial: Trial, outbox: Path, fatal: set[str]) -> None:
    accepted = everything(fatal_worker.SALES)
    async with opened(outbox) as store:
        letters = await store.dead_letters()
        reports = await store.reports([*accepted])
    undelivered = {event_id for event_id in accepted - fatal if not reports[event_id].delivered}
    silent = {letter.conversion.event_id for letter in letters if "died" not in letter.error}
    dead = {letter.conversion.event_id for letter in letters}
    trial.count(accepted=len(accepted), dead_letters=len(dead))
    trial.expect_none("neighbours undelivered", undelivered)
    trial.expect_none("without a reason", silent | (fatal - dead))
