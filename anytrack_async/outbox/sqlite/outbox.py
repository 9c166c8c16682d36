"""An outbox in one SQLite file: `SQLiteOutbox`."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio

from anytrack_async.errors import DamagedOutboxError, MissingKeyError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.base import AppendResult, Claim, Depth, FailedEntry
from anytrack_async.outbox.checks import (
    check_checkpoint,
    check_claim,
    check_destination,
    check_event_ids,
    check_key_ring,
    check_number,
    check_period,
    check_release,
    check_remote_ids,
    check_seconds,
    last_failures,
    not_open_error,
)
from anytrack_async.outbox.sqlite import claim as claims
from anytrack_async.outbox.sqlite import decoding, leases, reports, retention
from anytrack_async.outbox.sqlite.access import with_reserve
from anytrack_async.outbox.sqlite.append import ENCODED_AT_ONCE, encode_in_steps
from anytrack_async.outbox.sqlite.clock import FileClock
from anytrack_async.outbox.sqlite.copying import SQLiteCopying
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.dead_letters import SQLiteDeadLetters, SQLiteDeadLetterSteps
from anytrack_async.outbox.sqlite.decoding import SQLiteClaim, decrypted_entries
from anytrack_async.outbox.sqlite.erasing import SQLiteErasing
from anytrack_async.outbox.sqlite.errors import may_need_reserve, outbox_error
from anytrack_async.outbox.sqlite.files import file_path
from anytrack_async.outbox.sqlite.history.outbox import SQLiteHistory
from anytrack_async.outbox.sqlite.verify import Verification, Verifying

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

_log = logging.getLogger("anytrack_async")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SHIELDED_FOR = 1.0
"""Seconds for which cancelling a task does not end its claim."""

_REPORTS_PER_STEP = 200  # they take a few milliseconds, in which the thread does nothing else


class SQLiteOutbox(
    SQLiteDeadLetters, SQLiteDeadLetterSteps, SQLiteErasing, SQLiteHistory, SQLiteCopying
):
    """Keeps conversions in one file: accepted conversions survive ``kill -9`` and power loss.

    Several processes of one machine may share the file; it must not be on a network file system.
    When a process dies, the others, or the next one that opens the file, take its work over at
    once. Each process shows that it is alive by the lock on a small file beside the outbox.
    Nothing blocks the event loop: one thread does all work with the file, and tasks that append at
    the same time share one write to the disk. Cancelling a task ends its waiting, not the work: its
    conversions are accepted nevertheless, and appending them again is harmless.

    Ages and retention are on a clock of the file, which setting the date of the machine does not
    change. The time in which no process has the file open counts too, but one day at most each
    time, as a longer one may be a wrong date: an outbox that is opened for a minute every week
    remembers ids for seven times as long. A process on
    another system than Linux that opens the file after the date was set has another time than those
    that had it open before; restart them.

    A record that cannot be read becomes a dead letter of the destination that claims it, once the
    rest of its claim is settled: `depths` counts it, `reports` contains the reason and `replay`
    makes it due again. `dead_letters`, which returns conversions, can only log its event id.

    Args:
        path: the file; created if missing, readable for its owner only. Its folder must exist.
            ``~`` at its start is the user's home.
        capacity: how many conversions may wait for each destination.
        keys: encrypt and decrypt the records and the error texts; needs ``[encryption]``. Event
            ids, summaries (type, amount, currency), error codes and times are not encrypted, nor
            are the sources and campaigns by which accepted conversions are counted.
        clock: returns unix seconds and must not go back; also called in the thread. Default: a
            clock of the file's own, which does not leap when the date of the machine is set.
        busy_timeout: seconds to wait while another process is writing. A client's conversions wait
            for `DeliverySettings.accept_within` seconds at most; then nothing is accepted.

    Raises:
        ConfigurationError: *keys* is not a `KeyRing`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        capacity: int = 5_000_000,
        keys: KeyRing | None = None,
        clock: Callable[[], float] | None = None,
        busy_timeout: float = 30.0,
    ) -> None:
        super().__init__(
            file_path(path),
            capacity=capacity,
            keys=None if keys is None else check_key_ring(keys),
            clock=FileClock(clock),
            busy_timeout=busy_timeout,
        )

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def now(self) -> Callable[[], float]:
        """Returns the time on the clock of the file, unix seconds; see `KeepsTime`."""
        return self._clock.now

    # Destinations

    async def destinations(self) -> Sequence[str]:
        """Return every registered destination, also those without a sink in this process."""
        return await self._run(reports.destination_names)

    async def forget(self, destination: str) -> None:
        """Remove a destination with its backlog, retries and dead letters."""
        await self._run(reports.forget, check_destination(destination))

    # From append to settle

    async def append(
        self,
        conversions: Sequence[Conversion],
        destinations: Sequence[str] | None = None,
        *,
        waited: float = 0.0,
    ) -> Sequence[AppendResult]:
        """Store *conversions* in one atomic step; see `Outbox.append` and `LimitsWaiting`."""
        conversions, rows = tuple(conversions), None
        if len(conversions) > ENCODED_AT_ONCE:
            rows = await encode_in_steps(conversions, destinations, self._clock.now())
        if self._thread is None:
            raise not_open_error()
        if not conversions:
            return []
        result = await self._group_commit.add(conversions, destinations, rows, waited)
        if isinstance(result, Exception):
            raise result
        return result

    async def claim(self, destination: str, limit: int, lease: float) -> Claim:
        """Lease up to *limit* conversions for *lease* seconds; see `Outbox.claim`."""
        check_destination(destination)
        limit = min(limit, 2**31 - 1)
        claim = await self._claim(destination, limit, lease)
        while claim.lease_id and not claim.entries:
            await self.settle(claim)  # none of its records can be read: try the next ones
            claim = await self._claim(destination, limit, lease)
        return claim

    async def _claim(self, destination: str, limit: int, lease: float) -> Claim:
        try:
            try:
                return await self._claim_once(destination, limit, lease)
            except sqlite3.Error as exc:
                if not may_need_reserve(exc):
                    raise
                return await self._claim_once(destination, limit, lease, error=exc)
        except (sqlite3.Error, OSError) as exc:
            raise outbox_error(exc, self._path) from exc

    async def _claim_once(
        self, destination: str, limit: int, lease: float, *, error: sqlite3.Error | None = None
    ) -> Claim:
        thread = self._open_thread()
        claim = with_reserve(claims.claim, error) if error else claims.claim
        job = thread.submit(claim, destination, limit, lease, self._max_attempts)
        try:
            # Shielded, because the caller would never learn of its lease; but not for ever, because
            # another process may have the file locked.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _SHIELDED_FOR):
                await job.wait()
            result = job.result or await job.wait()
            if not result.lease_id:
                return Claim(destination=destination, next_due=result.next_due)
            return await decoding.decode_claim(
                destination,
                result,
                self._cache,
                lambda entries: self._run(decrypted_entries, entries),
            )
        except MissingKeyError:
            await thread.run(leases.undo, job, destination)
            raise
        except (TypeError, ValueError) as exc:  # a column has a value of the wrong type
            raise DamagedOutboxError(
                f"outbox file {self._path}: a value in it has the wrong type; `anytrack outbox "
                "verify` says more"
            ) from exc
        except anyio.get_cancelled_exc_class():
            job.is_abandoned = True
            thread.submit(leases.undo, job, destination)
            raise

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Extend the lease to *lease* seconds from now; False if it was lost."""
        check_claim(claim)
        lease = check_seconds("lease", lease)
        return await self._run(leases.renew, claim, lease)

    async def settle(self, claim: Claim, failed: Sequence[FailedEntry] = ()) -> bool:
        """End *claim*; see `Outbox.settle`."""
        return await self.settle_with_ids(claim, failed, ())

    async def settle_with_ids(
        self, claim: Claim, failed: Sequence[FailedEntry], remote_ids: Sequence[str | None]
    ) -> bool:
        """End *claim* and keep the ids of its conversions; see `KeepsRemoteIds`."""
        check_claim(claim)
        check_remote_ids(remote_ids)
        failures = last_failures(claim, failed) if failed else []
        if isinstance(claim, SQLiteClaim):
            failures += claim.unreadable
        return await self._run(leases.settle, claim, failures, remote_ids)

    async def release(self, claim: Claim, *, due: float, counts_as_attempt: bool) -> bool:
        """Return the whole *claim*, to be claimed again not before *due* (unix seconds)."""
        due = check_release(claim, due, counts_as_attempt)
        return await self._run(leases.release, claim, due=due, counts_as_attempt=counts_as_attempt)

    # Reports

    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return event id → outcomes at its destinations; see `Outbox.reports`."""
        by_event_id: dict[str, Report] = {}
        event_ids = check_event_ids(event_ids)
        for start in range(0, len(event_ids), _REPORTS_PER_STEP):
            part = event_ids[start : start + _REPORTS_PER_STEP]
            by_event_id |= await self._run(reports.reports, part)
        return by_event_id

    async def summaries(self, event_ids: Sequence[str]) -> Mapping[str, str | None]:
        """Return event id → summary of its conversion; see `KeepsSummaries`."""
        return await self._run(reports.summaries, check_event_ids(event_ids))

    async def undelivered(self, destination: str, *, limit: int = 1000) -> Sequence[str]:
        """Return ids of events neither delivered to *destination* nor dead, in log order."""
        name, limit = check_destination(destination), check_number("limit", limit)
        return await self._run(reports.undelivered, name, limit)

    async def accepted(
        self, *, since: float, until: float | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, str]]:
        """Return positions and event ids of conversions accepted in a period: `ListsAccepted`."""
        after, limit = check_number("after", after), check_number("limit", limit)
        since, until = check_period(since, until)
        return await self._run(reports.accepted, since, until, after, limit)

    async def forgotten(self) -> int:
        """Return how many positions at the beginning of the log have no ids: `ListsAccepted`."""
        return await self._run(reports.forgotten)

    async def depths(self) -> Mapping[str, Depth]:
        """Return destination → its depth."""
        return await self._run(reports.depths)

    async def oldest_ages(self) -> Mapping[str, float]:
        """Return destination → seconds since its oldest waiting conversion was accepted."""
        return await self._run(reports.oldest_ages)

    async def delivered_counts(self) -> Mapping[str, int]:
        """Return destination → how many conversions it has received."""
        return await self._run(reports.delivered_counts)

    async def verify(self) -> Verification:
        """Check the whole file: its integrity, and that each conversion is accounted for.

        It reads every record, about a minute for a million. The outbox can be used meanwhile,
        except while SQLite checks the structure of the file, a second for some 100 MB.

        Raises:
            OutboxError: so much was accepted meanwhile that the write-ahead log would be full.
        """
        verifying = Verifying()
        await self._run_steps(verifying.step)
        return verifying.result

    async def vacuum(self) -> tuple[int, int]:
        """Write the file anew, without unused pages; return its size in bytes before and after.

        Nothing can be accepted meanwhile, a second for some 50 MB. It needs as much memory and
        space on the disk as is in use in the file. A file of this release does not need it: unused
        pages are returned to the disk when conversions and ids are dropped.
        """
        return await self._run(Database.vacuum)

    # Encryption

    async def rekey(self) -> int:
        """Encrypt everything in the file with the first key; return how many rows changed.

        Other keys can be removed afterwards, unless `key_usage` still counts rows of theirs: those
        that are damaged, or of a program that has another first key. It can be repeated.

        Raises:
            ConfigurationError: the outbox has no keys.
        """
        from anytrack_async.outbox.sqlite.encryption import Rekeying

        return await self._run_steps(Rekeying(self._keys).step)

    async def key_usage(self) -> Mapping[str, int]:
        """Return id of a key → how many rows it encrypts; ``""`` → rows that are not encrypted.

        A row is a conversion that is still stored, or the error text of a retry, a dead letter or
        an attempt. The keys of the outbox come first, in their order. It reads the file in steps.
        """
        from anytrack_async.outbox.sqlite.encryption import KeyCounting, key_usage

        counting = KeyCounting()
        await self._run_steps(counting.step)
        return key_usage(self._keys, counting.counts)

    # Checkpoints

    async def checkpoint(self, name: str) -> bytes | None:
        """Return the value last saved as *name*; see `KeepsCheckpoints`."""
        return await self._run(reports.checkpoint_value, check_checkpoint(name, None)[0])

    async def save_checkpoint(self, name: str, value: bytes | None) -> None:
        """Save *value* as *name*, on the disk when this returns; None deletes it."""
        await self._run(reports.save_checkpoint, *check_checkpoint(name, value))

    # Retention

    async def prune(self, *, remember: float) -> int:
        """Drop payloads that every destination has, and old ids; see `Outbox.prune`."""
        remember = check_seconds("remember", remember)
        dropped = 0
        for step in (
            retention.drop_reclaimable,
            retention.drop_payloads,
            retention.sweep_payloads,
        ):
            dropped += await self._run_steps(retention.if_log_has_room, step)
        for forget in (retention.forget_ids, retention.forget_counts):
            await self._run_gently(retention.if_log_has_room, forget, remember)
        await self._run_gently(retention.if_log_has_room, retention.shrink)
        await self._run(
            Database.checkpoint, at_once=dropped > 0
        )  # the dropped rows are still in the write-ahead log
        return dropped
