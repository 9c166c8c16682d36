"""What a memory outbox tells about its conversions: reports, backlog and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest

from anytrack_async.models.outcome import Outcome, Report, Status
from anytrack_async.outbox.base import DeadLetter, Entry, FailedEntry
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import Exceptional, Progress
from anytrack_async.outbox.memory.remembered import Gone


def report(
    event_id: str, known: int | Gone, log: MemoryLog, progress: Mapping[str, Progress]
) -> Report:
    """Return how a conversion stands at every destination it is for."""
    if isinstance(known, Gone):
        seq, mask, went = known.seq, known.mask, known.at
    else:
        seq, mask, went = known, log.mask(known), None
    outcomes = {
        name: _outcome(name, seq, one)
        for name, one in progress.items()
        if (mask is None or name in mask) and _concerns(one, seq, went)
    }
    return Report(event_id=event_id, outcomes=outcomes)


def _concerns(progress: Progress, seq: int, went: float | None) -> bool:
    """Tell whether the destination had joined when the conversion was there to be delivered."""
    if seq > progress.start:
        return True
    if progress.since is None:
        return False
    return went is None or went >= progress.since


def _outcome(name: str, seq: int, progress: Progress) -> Outcome:
    kept = progress.exceptions.get(seq)
    if kept is not None:
        return outcome_of(name, kept.failure)
    if seq > progress.cursor:
        return Outcome(status=Status.WAITING, destination=name, attempts=0)
    span = progress.span_at(seq)
    if span is not None:
        return Outcome(status=Status.WAITING, destination=name, attempts=span.attempts)
    return Outcome(status=Status.DELIVERED, destination=name)


def outcome_of(name: str, failure: FailedEntry) -> Outcome:
    """Return how a conversion stands at a destination that sent it back."""
    return Outcome(
        status=Status.DEAD if failure.due is None else Status.WAITING,
        destination=name,
        attempts=failure.attempts,
        error=failure.error or None,
        code=failure.code,
    )


def undelivered(log: MemoryLog, name: str, progress: Progress, limit: int) -> list[str]:
    """Return the ids of the first *limit* conversions that are neither delivered nor dead."""
    kept = progress.exceptions.items()
    entries = [log.entry(seq) for seq, one in kept if one.failure.due is not None]
    for span in progress.spans():
        entries += log.scan(name, span.first, span.last, limit)[0]
    if progress.cursor < log.end:
        entries += log.scan(name, progress.cursor + 1, log.end, limit)[0]
    entries.sort(key=lambda entry: entry.seq)
    return [entry.conversion.event_id for entry in entries[:limit]]


def page_of_dead_letters(
    log: MemoryLog, progress: Mapping[str, Progress], after: int, limit: int
) -> list[DeadLetter]:
    """Return up to *limit* dead letters by place, and the others of the last place."""
    dead = nsmallest(
        limit,
        (
            (seq, name)
            for name, one in progress.items()
            for seq, kept in one.exceptions.items()
            if seq > after and kept.failure.due is None
        ),
    )
    if dead:
        last = dead[-1][0]
        others = ((last, name) for name, one in progress.items() if one.is_dead(last))
        dead = [place for place in dead if place[0] < last] + sorted(others)
    return [_letter(log.entry(seq), name, progress[name].exceptions[seq]) for seq, name in dead]


def _letter(entry: Entry, name: str, kept: Exceptional) -> DeadLetter:
    return DeadLetter(
        seq=entry.seq,
        destination=name,
        conversion=entry.conversion,
        attempts=kept.failure.attempts,
        error=kept.failure.error,
        code=kept.failure.code,
        died_at=kept.at,
    )
