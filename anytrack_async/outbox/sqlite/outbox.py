"""An outbox in one SQLite file: `SQLiteOutbox`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeVar

import anyio

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.base import (
    Appended,
    Claim,
    DeadLetter,
    Depth,
    FailedEntry,
    last_failures,
    not_open_error,
)
from anytrack_async.outbox.sqlite import claim as taking
from anytrack_async.outbox.sqlite import dead_letters as letters
from anytrack_async.outbox.sqlite import leases
from anytrack_async.outbox.sqlite import reports as ledger
from anytrack_async.outbox.sqlite import retention as log
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.decoding import Reader
from anytrack_async.outbox.sqlite.group_commit import Intake
from anytrack_async.outbox.sqlite.rows import FEW, rows_in_parts
from anytrack_async.outbox.sqlite.thread import OwnerThread

_T = TypeVar("_T")
_REMEMBERED = 10_000
_ASKED = 200  # reports in one go: a few milliseconds, in which nothing else is written


class SQLiteOutbox:
    """Keeps conversions in one file: what is accepted survives ``kill -9`` and power loss.

    Several processes of one machine may share the file; network file systems will not do. Nothing
    blocks the event loop: one thread does all the work with the file, and tasks that append at the
    same time share one write to the disk. Cancelling a task stops its waiting, not the work: what
    it appended is accepted all the same, and appending it again is harmless.

    A record that cannot be read becomes a dead letter of the destination that claims it, once the
    rest of its claim is settled: it counts in `depths`, has its reason in `reports` and comes back
    by `replay`; `dead_letters`, which hands out conversions, can only name it in the log.

    Args:
        path: the file; made if missing, readable for its owner only. Its folder must exist.
        capacity: how many conversions may wait for the slowest destination.
        clock: unix seconds; also called from the thread.
        busy_timeout: seconds to wait for another process that is writing.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        capacity: int = 5_000_000,
        clock: Callable[[], float] = time.time,
        busy_timeout: float = 30.0,
    ) -> None:
        self._path = Path(path)
        self._capacity = capacity
        self._clock = clock
        self._thread: OwnerThread[Database] | None = None
        self._inherited: OwnerThread[Database] | None = None
        self._opening = partial(Database.open, self._path, clock=clock, busy_timeout=busy_timeout)
        self._unreadable: dict[int, list[FailedEntry]] = {}

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def durable(self) -> bool:
        """True: what is accepted survives the end of the process, and power loss."""
        return True

    @property
    def shared(self) -> bool:
        """True: other processes may append and settle too."""
        return True

    @property
    def capacity(self) -> int:
        """How many conversions may wait for the slowest destination."""
        return self._capacity

    async def open(self, destinations: Sequence[str], *, from_start: Sequence[str] = ()) -> None:
        """Open the file and register *destinations*; see `Outbox.open`."""
        if self._thread is None or not self._thread.is_here:
            # Closing a connection that came along with a fork would disturb the parent.
            self._inherited = self._thread
            thread = OwnerThread(self._opening, Database.close)
            await thread.start()
            self._thread = thread
            self._reader = Reader(_REMEMBERED)  # the file may be another one by now
            self._intake = Intake(thread, self._capacity, self._reader.remember)
        await self._run(lambda db: ledger.register(db, destinations, from_start))

    async def aclose(self) -> None:
        """Finish what is under way and close the file; `open` opens it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.stop()

    async def _run(self, work: Callable[[Database], _T]) -> _T:
        def explained(db: Database) -> _T:
            with db.explained():
                return work(db)

        if self._thread is None:
            raise not_open_error()
        return await self._thread.run(explained)

    async def destinations(self) -> Sequence[str]:
        """Return every destination registered, also those this process has no sink for."""
        return await self._run(ledger.destinations)

    async def forget(self, destination: str) -> None:
        """Drop a destination with its backlog, retries and dead letters."""
        await self._run(lambda db: ledger.forget(db, destination))

    async def append(
        self, conversions: Sequence[Conversion], destinations: Sequence[str] | None = None
    ) -> Sequence[Appended]:
        """Write *conversions* down, all in one step; see `Outbox.append`."""
        conversions, mask, values = tuple(conversions), log.mask(destinations), None
        if len(conversions) > FEW:
            values = await rows_in_parts(conversions, mask, self._clock())
        if self._thread is None:
            raise not_open_error()
        if not conversions:
            return []
        answer = await self._intake.join(conversions, mask, values)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`."""
        with anyio.CancelScope(shield=True):  # a lease that nobody hears of would lie idle
            claim = await self._claim(destination, limit, lease)
            while claim.lease_id and not claim.entries:
                await self.settle(claim)  # there was nothing in it that can be read
                claim = await self._claim(destination, limit, lease)
        return claim

    async def _claim(self, destination: str, limit: int, lease: float) -> Claim:
        taken = await self._run(lambda db: taking.claim(db, destination, limit, lease))
        entries, unreadable = await self._reader.entries(taken.found)
        if unreadable:
            self._unreadable[taken.lease_id] = unreadable
        return Claim(
            destination=destination,
            lease_id=taken.lease_id,
            entries=entries,
            next_due=taken.next_due,
        )

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to *lease* seconds from now; False if it was lost."""
        return await self._run(lambda db: leases.renew(db, claim, lease))

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry] = ()) -> bool:
        """End *claim*; see `Outbox.settle`."""
        kept = [*last_failures(claim, failed), *self._unreadable.get(claim.lease_id, ())]
        held = await self._run(lambda db: leases.settle(db, claim, kept))
        self._unreadable.pop(claim.lease_id, None)
        return held

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Give the whole *claim* back, to be claimed again not before *due* (unix seconds)."""
        held = await self._run(
            lambda db: leases.release(db, claim, due=due, counts_as_attempt=counts_as_attempt)
        )
        self._unreadable.pop(claim.lease_id, None)
        return held

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return how each known one of *event_ids* stands; see `Outbox.reports`."""
        found: dict[str, Report] = {}
        for start in range(0, len(event_ids), _ASKED):
            some = event_ids[start : start + _ASKED]
            found |= await self._run(partial(ledger.reports, event_ids=some))
        return found

    async def undelivered(self, destination: str, *, limit: int = 1000) -> Sequence[str]:
        """Return event ids that *destination* neither has nor refused, in log order."""
        return await self._run(lambda db: ledger.undelivered(db, destination, limit))

    async def depths(self) -> Mapping[str, Depth]:
        """Return destination → how much it has not got."""
        return await self._run(ledger.depths)

    async def dead_letters(
        self, destination: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """Return dead letters by `seq`, from beyond *after*; see `Outbox.dead_letters`."""
        page: list[DeadLetter] = []
        while len(page) < limit:
            wanted = partial(
                letters.dead_letters, destination=destination, after=after, limit=limit - len(page)
            )
            stored = await self._run(wanted)
            if not stored:
                break
            page += await self._reader.letters(stored)
            after = stored[-1].seq
        return page

    async def replay(self, destination: str, event_ids: Sequence[str] | None = None) -> int:
        """Make dead letters due now with attempts from 0; return how many."""
        if event_ids is not None:
            return await self._run(lambda db: letters.replay(db, destination, event_ids))
        return await self._in_steps(lambda db: letters.replay_all(db, destination))

    async def prune(self, *, remember: float) -> int:
        """Drop what every destination has, in steps, and ids older than *remember* seconds."""
        dropped = await self._in_steps(log.drop_loose)
        dropped += await self._in_steps(log.drop_payloads)
        await self._in_steps(lambda db: log.forget_ids(db, remember))
        return dropped

    async def _in_steps(self, step: Callable[[Database], log.Step]) -> int:
        """Do *step* until nothing is left; others may use the file in between."""
        done = 0
        while True:
            count, more = await self._run(step)
            done += count
            if not more:
                return done
