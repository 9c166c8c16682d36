"""The counts of the history, which the statements of appends and settles carry to the database.

Counts are collected in memory. The first statement that comes a second after the last write carries
them, its own counts included; if none comes, they are written by a statement of their own. So no
append takes a round trip more, and other processes see counts about a second late. When a process
dies, the counts that it has not written are lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from time import monotonic
from typing import Any

from anytrack_async.errors import OutboxError, OutcomeUnknownError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.counting import Counts, Kind
from anytrack_async.outbox.history import NAMES_PER_DAY
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.errors import storable

WRITE_EVERY = 1.0
"""Seconds between two writes of counts."""

_MAX_NAMES = 4 * NAMES_PER_DAY
"""Pairs of source and campaign of a day that a process tells apart: more than the database, which
has those that came first in any process."""

_MAX_CODE = 100
"""Characters of an error code by which outcomes are counted."""


class CountWriter:
    """Collects the counts of an open outbox and writes them.

    Args:
        db: the database.
        now: returns the time on the clock of the caller, unix seconds.

    Attributes:
        is_paused: whether nothing is counted.
    """

    def __init__(self, db: Database, now: Callable[[], float]) -> None:
        self._db = db
        self._now = now
        self._pending = Counts(_MAX_NAMES)
        self._next_write = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._shift = 0.0
        self.is_paused = False

    def compare_clocks(self, server_now: float) -> None:
        """Take note of the time on the server's clock, unix seconds: counts have its dates."""
        self._shift = self._now() - server_now

    def _date(self) -> float:
        """Return the date by the server's clock, unix seconds."""
        return self._now() - self._shift

    # Counting

    def accepted(self, conversions: Sequence[Conversion]) -> None:
        """Count conversions that are new in the log."""
        if conversions and not self.is_paused:
            self._pending.add_accepted(conversions, self._date())
            self._write_soon()

    def settled(self, claim: Claim, failed: Sequence[FailedEntry]) -> None:
        """Count the outcomes of a claim that was settled."""
        if not self.is_paused:
            self._pending.add_outcomes(claim, failed, self._now(), self._date())
            self._write_soon()

    def released(self, claim: Claim, sent: Sequence[int], code: str | None) -> None:
        """Count entries of a claim that was released after a failure, by their indexes in it."""
        if not self.is_paused:
            self._pending.add_released(claim, sent, code, self._now(), self._date())
            self._write_soon()

    # Writing

    @property
    def is_due(self) -> bool:
        """Whether the next statement should carry the counts."""
        return not self.is_paused and monotonic() >= self._next_write

    def take(self) -> Counts:
        """Return all counts, for a statement that writes them; see `put_back`."""
        counts, self._pending = self._pending, self._pending.successor()
        self._next_write = monotonic() + WRITE_EVERY
        return counts

    def with_accepted(self, counts: Counts, conversions: Sequence[Conversion]) -> Counts:
        """Return *counts* with *conversions*, as if all were new."""
        total = counts.successor()
        total.add(counts)
        total.add_accepted(conversions, self._date())
        return total

    def with_settled(self, counts: Counts, claim: Claim, failed: Sequence[FailedEntry]) -> Counts:
        """Return *counts* with the outcomes of a claim, as if it were settled."""
        total = counts.successor()
        total.add(counts)
        total.add_outcomes(claim, failed, self._now(), self._date())
        return total

    def put_back(self, counts: Counts) -> None:
        """Keep *counts* from `take` for a later statement, because theirs did not write them."""
        if counts:
            self._pending.add(counts)
            self._write_soon()

    def put_back_after(self, exc: BaseException, counts: Counts) -> None:
        """Do the same after *exc*, unless the counts may have been written: they are lost then."""
        if not isinstance(exc, OutcomeUnknownError | asyncio.CancelledError):
            self.put_back(counts)

    async def flush(self) -> None:
        """Write all counts now.

        Raises:
            OutboxError: the database failed; they are kept for later.
        """
        if not self._pending:
            return
        counts = self.take()
        try:
            await self._db.fetch_once(queries.COUNT, *columns(counts))
        except BaseException as exc:
            self.put_back_after(exc, counts)
            raise

    async def finish(self) -> None:
        """Write all counts and stop; a database that fails loses those of the last second."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._writing:
            await asyncio.wait(self._writing)
        with suppress(OutboxError):
            await self.flush()
        self.stop()

    def stop(self) -> None:
        """Forget all counts that are not written."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._pending, self._next_write = None, Counts(_MAX_NAMES), 0.0

    def _write_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WRITE_EVERY, self._start_writing)

    def _start_writing(self) -> None:
        self._timer = None
        if self._pending:
            task = asyncio.create_task(self._write(), name="anytrack-counts")
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self) -> None:
        with suppress(OutboxError):  # appends and claims report what the database says
            await self.flush()


# The parameters of statements


def columns(counts: Counts) -> tuple[Sequence[object], ...]:
    """Return *counts* as the parameters of ``count_v1``: 7 columns of accepted, 6 of outcomes."""
    accepted = kind_columns(counts.accepted)
    results = counts.outcomes
    return (
        [kind.hour for kind in counts.accepted],
        *accepted,
        [result.minute for result in results],
        [storable(result.destination) for result in results],
        [str(result.status) for result in results],
        [storable(result.code[:_MAX_CODE]) for result in results],
        [count for count, _ in results.values()],
        [seconds for _, seconds in results.values()],
    )


def kinds_of(conversions: Sequence[Conversion]) -> tuple[list[Any], ...]:
    """Return the columns of `kind_columns` for *conversions*."""
    counts = Counts()
    counts.add_accepted(conversions, 0.0)
    return kind_columns(counts.accepted)


def kind_columns(accepted: Mapping[Kind, tuple[int, Decimal]]) -> tuple[list[Any], ...]:
    """Return type, currency, source, campaign, number and value of each kind, as columns."""
    return (
        [kind.conversion_type for kind in accepted],
        [kind.currency for kind in accepted],
        [storable(kind.source) for kind in accepted],
        [storable(kind.campaign) for kind in accepted],
        [count for count, _ in accepted.values()],
        [str(value) for _, value in accepted.values()],
    )
