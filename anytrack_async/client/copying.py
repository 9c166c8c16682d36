"""Copying an outbox file into another outbox, such as one in PostgreSQL.

    in the file            in the other outbox
    waiting, retrying      waits for the same destinations, from its first attempt on
    dead                   dead, with the reason
    delivered, discarded   its event id is known there, so that a repeat sends nothing
    counts of the history  are added to those there
    failed attempts        are in the history there; times of first deliveries stay in the file

The file keeps the copied conversions. Another copy appends all of them again: those that the other
outbox knows are repeats there. After an interruption, a copy continues at the same position.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import anyio
import attrs

from anytrack_async.client.copied_history import copy_attempts, copy_counts, not_counted
from anytrack_async.models.contradiction import ConversionSummary
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox.base import Appended, Claim, FailedEntry, Outbox
from anytrack_async.outbox.capabilities import KeepsCheckpoints
from anytrack_async.outbox.dead_letters import DeadLetter
from anytrack_async.outbox.sqlite.copying import StoredConversion
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

_AT_ONCE = 500
_LEASE = 10.0
"""Seconds of a claim, for which a copy waits if the one before was killed while it had one."""

_PAUSE = 0.05

_LATER = 60.0
"""Seconds until a waiting conversion, which was claimed together with dead ones, is due again."""


@attrs.define(kw_only=True)
class CopyReport:
    """The numbers of a copy.

    Attributes:
        waiting: conversions that now wait in the other outbox.
        dead: dead letters copied into the other outbox, counted for each destination.
        remembered: conversions that need no delivery; the other outbox now knows their event ids.
        known: event ids that the other outbox knew before.
        damaged: event ids of conversions that cannot be read.
        left_dead: destination → dead letters that stay in the file only, because the other outbox
            already had a backlog for that destination.
    """

    waiting: int = 0
    dead: int = 0
    remembered: int = 0
    known: int = 0
    damaged: list[str] = attrs.field(factory=list)
    left_dead: dict[str, int] = attrs.field(factory=dict)


async def copy_outbox(
    source: SQLiteOutbox,
    target: Outbox,
    path: Path,
    *,
    on_progress: Callable[[CopyReport], None] = lambda _: None,
) -> CopyReport:
    """Copy *source* into *target*; both are open, and no worker delivers from either.

    Args:
        source: the outbox file.
        target: the other outbox, opened for the destinations of *source*.
        path: absolute path of the file, by which an interrupted copy of it is recognised.
        on_progress: called after each part.

    Raises:
        OutboxError: one of the outboxes failed; copy again.
        QueueFullError: *target* has no room for the waiting conversions.
    """
    report = CopyReport()
    copying = _Copying(source, target, report)
    name = await _checkpoint_name(source, path)
    state = await _checkpoint(target, name)
    goes_on = state is not None  # an earlier copy was interrupted
    state = state or await copying.begin()
    await _save(target, name, state)
    with not_counted(target):
        letters = await copying.letters_to_copy(state, goes_on=goes_on)
        if not state.position:  # else they were copied before it was interrupted
            await copying.copy_dead_letters(letters)
        on_progress(report)
        while rows := await source.stored(after=state.position, limit=_AT_ONCE):
            await copying.copy_rows(rows)
            state = attrs.evolve(state, position=rows[-1].seq)
            await _save(target, name, state)
            on_progress(report)
    await copy_counts(source, target, name)
    await _save(target, name, None)  # the next copy begins at the beginning
    return report


@attrs.frozen(kw_only=True)
class _CopyState:
    """How far a copy is.

    Attributes:
        position: up to which the file was copied; 0 before the dead letters are.
        full: destinations for which conversions waited in the target when the copy began.
    """

    position: int = 0
    full: tuple[str, ...] = ()


class _Copying:
    """The steps of a copy, with the event ids that stay in the file."""

    def __init__(self, source: SQLiteOutbox, target: Outbox, report: CopyReport) -> None:
        self._source, self._target, self._report = source, target, report
        self._left: set[str] = set()

    async def copy_rows(self, rows: Sequence[StoredConversion]) -> None:
        """Append conversions to the target, each for the destinations that do not have it."""
        reports = await self._source.reports([row.event_id for row in rows])
        groups: dict[tuple[str, ...], list[Conversion]] = defaultdict(list)
        for row in rows:
            conversion = row.conversion or _placeholder(row)
            names = _waits_for(reports.get(row.event_id))
            if row.is_damaged or conversion is None:
                self._report.damaged.append(row.event_id)
            elif names or row.event_id not in self._left:
                groups[names].append(conversion)
        await self._append_groups(groups)
        copied = [row.event_id for row in rows if row.event_id not in self._left]
        await copy_attempts(self._source, self._target, copied, reports)

    async def _append_groups(self, groups: Mapping[tuple[str, ...], Sequence[Conversion]]) -> None:
        for names, conversions in groups.items():
            results = await self._target.append(conversions, list(names))
            new = results.count(Appended.NEW)
            self._report.known += len(results) - new
            if names:
                self._report.waiting += new
            else:
                self._report.remembered += new

    async def begin(self) -> _CopyState:
        """Return the state before the first conversion is copied."""
        depths = await self._target.depths()
        return _CopyState(full=tuple(name for name, depth in depths.items() if depth.waiting))

    async def letters_to_copy(
        self, state: _CopyState, *, goes_on: bool
    ) -> Mapping[str, Sequence[DeadLetter]]:
        """Return destination → dead letters; those that have to stay in the file are left out.

        Args:
            state: how far the copy is.
            goes_on: whether this copy continues an interrupted one, which may have appended the
                dead letters without making them dead. If not, dead letters that the other outbox
                knows were copied before, and may have been replayed since: they are left out.
        """
        letters = {
            name: await self._dead_letters(name) for name in await self._source.destinations()
        }
        ids = list({letter.event_id for own in letters.values() for letter in own})
        in_target = (await self._target.reports(ids)).keys()
        for name in state.full:
            self._left |= {letter.event_id for letter in letters.get(name, ())} - in_target
        self._count_left(letters)
        excluded = self._left if goes_on else self._left | in_target
        return {
            name: [letter for letter in own if letter.event_id not in excluded]
            for name, own in letters.items()
        }

    def _count_left(self, letters: Mapping[str, Sequence[DeadLetter]]) -> None:
        for name, own in letters.items():
            if count := sum(letter.event_id in self._left for letter in own):
                self._report.left_dead[name] = count

    async def copy_dead_letters(self, letters: Mapping[str, Sequence[DeadLetter]]) -> None:
        """Append the dead letters, and make them dead there too.

        This comes before all other conversions, so that a claim has hardly any others.
        """
        for name, own in letters.items():
            await self._append_dead(name, own)

    async def _dead_letters(self, name: str) -> list[DeadLetter]:
        letters: list[DeadLetter] = []
        while page := await self._source.dead_letters(
            name, after=letters[-1].seq if letters else 0, limit=_AT_ONCE
        ):
            letters += page
        return letters

    async def _append_dead(self, name: str, letters: Sequence[DeadLetter]) -> None:
        reports = await self._source.reports([letter.event_id for letter in letters])
        for letter in letters:
            names = _waits_for(reports.get(letter.event_id), or_is_dead=True)
            await self._target.append([letter.conversion], names)
        missing = {letter.event_id: letter for letter in letters}
        for dead in await self._target.dead_letters(
            name, event_ids=list(missing), limit=len(missing) + 1
        ):
            missing.pop(dead.event_id, None)
        while missing and (claim := await self._claim(name)):
            failed = [
                _failed(entry.seq, missing.pop(entry.conversion.event_id, None), entry.attempts)
                for entry in claim.entries
            ]
            await self._target.settle(claim, failed)
            self._report.dead += sum(entry.due is None for entry in failed)

    async def _claim(self, name: str) -> Claim | None:
        """Claim conversions that wait for a destination, or wait for the claim of a killed copy."""
        while not (claim := await self._target.claim(name, _AT_ONCE, _LEASE)).entries:
            wait = math.inf if claim.next_due is None else claim.next_due - time.time()
            if wait > _LEASE:
                return None
            await anyio.sleep(max(wait, _PAUSE))
        return claim


def _waits_for(report: Report | None, *, or_is_dead: bool = False) -> tuple[str, ...]:
    """Return the destinations that are still to get a conversion."""
    statuses = {Status.WAITING, Status.RETRY} | ({Status.DEAD} if or_is_dead else set())
    outcomes = report.outcomes if report else {}
    return tuple(sorted(name for name, item in outcomes.items() if item.status in statuses))


def _failed(seq: int, letter: DeadLetter | None, attempts: int) -> FailedEntry:
    if letter is None:  # it waits at this destination, and is dead at another one
        due = time.time() + _LATER
        return FailedEntry(seq=seq, attempts=attempts, error="not sent: it was copied", due=due)
    return FailedEntry(seq=seq, attempts=letter.attempts, error=letter.error, code=letter.code)


def _placeholder(row: StoredConversion) -> Conversion | None:
    """Return a conversion with the id and the summary of one that was dropped from the file."""
    try:
        summary = ConversionSummary.parse(row.summary)
    except ValueError:
        return None
    is_custom = summary.conversion_type is ConversionType.CUSTOM
    return Conversion(
        event_id=row.event_id,
        conversion_type=summary.conversion_type,
        event_name="copied" if is_custom else None,
        revenue=summary.revenue,
        currency=summary.currency,
    )


async def _checkpoint_name(source: SQLiteOutbox, path: Path) -> str:
    first = await source.stored(limit=1)
    identity = f"{path}\n{first[0].event_id if first else ''}"
    return f"copy {blake2b(identity.encode(), digest_size=16).hexdigest()}"


async def _checkpoint(target: Outbox, name: str) -> _CopyState | None:
    value = await target.checkpoint(name) if isinstance(target, KeepsCheckpoints) else None
    if not value:
        return None
    position, *full = value.decode().split("\n")
    return _CopyState(position=int(position), full=tuple(full))


async def _save(target: Outbox, name: str, state: _CopyState | None) -> None:
    if isinstance(target, KeepsCheckpoints):
        value = None if state is None else "\n".join((str(state.position), *state.full)).encode()
        await target.save_checkpoint(name, value)
