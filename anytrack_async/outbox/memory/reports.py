"""Reports, backlog and dead letters of a memory outbox."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from anytrack_async.models.outcome import Outcome, Report, Status, given_up, not_retried
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterKey
from anytrack_async.outbox.memory.log import MemoryLog
from anytrack_async.outbox.memory.progress import DestinationProgress, FailedConversion
from anytrack_async.outbox.memory.remembered import RememberedId

# Reports


def report(
    event_id: str,
    record: int | RememberedId,
    log: MemoryLog,
    destinations: Mapping[str, DestinationProgress],
) -> Report:
    """Return the outcomes of a conversion at the destinations it is addressed to.

    Args:
        event_id: its event id.
        record: the result of `MemoryLog.find` for it.
        log: the log.
        destinations: the progress of each destination.
    """
    if isinstance(record, RememberedId):
        seq, recipients, dropped_at = record
    else:
        seq, recipients, dropped_at = record, log.recipients(record), None
    outcomes = {
        name: _outcome(name, seq, progress) or _delivered(name, event_id, log)
        for name, progress in destinations.items()
        if (recipients is None or name in recipients) and _concerns(progress, seq, dropped_at)
    }
    return Report(event_id=event_id, outcomes=outcomes)


def _concerns(progress: DestinationProgress, seq: int, dropped_at: float | None) -> bool:
    """Return whether the conversion is in the part of the log that the destination has to get.

    That part begins after `start`. A destination that started at the beginning of the log also gets
    each earlier conversion that was not yet dropped when it was registered, at `since`.
    """
    if seq > progress.start:
        return True
    if progress.since is None:
        return False
    return dropped_at is None or dropped_at >= progress.since


def _outcome(name: str, seq: int, progress: DestinationProgress) -> Outcome | None:
    """Return the outcome of a conversion that was not delivered; None if it was."""
    exception = progress.exceptions.get(seq)
    if exception is not None:
        failure = exception.failure
        status = not_retried(failure.code) if failure.due is None else Status.WAITING
        return _failure(name, failure, status)
    if seq in progress.discarded:
        discarded = progress.discarded[seq]
        return _failure(name, discarded, given_up(discarded.code))
    if seq > progress.cursor:
        return Outcome(status=Status.WAITING, destination=name, attempts=0)
    span = progress.span_at(seq)
    if span is not None:
        return Outcome(status=Status.WAITING, destination=name, attempts=span.attempts)
    return None


def _delivered(name: str, event_id: str, log: MemoryLog) -> Outcome:
    remote_id = log.remote_ids.get(name, {}).get(event_id)
    return Outcome(status=Status.DELIVERED, destination=name, remote_id=remote_id)


def _failure(name: str, failure: FailedEntry, status: Status) -> Outcome:
    return Outcome(
        status=status,
        destination=name,
        attempts=failure.attempts,
        error=failure.error or None,
        code=failure.code,
    )


# Backlog


def undelivered(log: MemoryLog, name: str, progress: DestinationProgress, limit: int) -> list[str]:
    """Return the ids of the first *limit* events that are neither delivered nor dead."""
    entries = [
        log.entry(seq)
        for seq, exception in progress.exceptions.items()
        if exception.failure.due is not None
    ]
    for span in progress.unsettled_spans():
        entries += log.scan(name, span.first, span.last, limit)[0]
    if progress.cursor < log.end:
        entries += log.scan(name, progress.cursor + 1, log.end, limit)[0]
    entries.sort(key=lambda entry: entry.seq)
    return [entry.conversion.event_id for entry in entries[:limit]]


# Dead letters


def find_dead(
    destinations: Mapping[str, DestinationProgress],
    seqs: Container[int] | None,
    where: DeadLetterFilter,
    after: int,
    now: float,
) -> Iterator[tuple[int, str]]:
    """Return position and destination of dead letters, in no order.

    Args:
        destinations: the progress of their destinations.
        seqs: their positions; None for all.
        where: the condition that they fulfil.
        after: the position after which they are.
        now: unix seconds.
    """
    for name, progress in destinations.items():
        for seq, exception in progress.exceptions.items():
            if seq <= after or exception.failure.due is not None:
                continue
            if (seqs is None or seq in seqs) and matches(where, exception, now):
                yield seq, name


def matches(where: DeadLetterFilter, exception: FailedConversion, now: float) -> bool:
    """Return whether a dead letter fulfils *where* at *now*, unix seconds."""
    return where.matches(
        error=exception.failure.error,
        code=exception.failure.code,
        died_at=exception.failed_at,
        age=now - exception.settled_at,
    )


def dead_letters(
    log: MemoryLog,
    destinations: Mapping[str, DestinationProgress],
    keys: Iterable[DeadLetterKey],
) -> list[DeadLetter]:
    """Return the dead letters at *keys*."""
    return [_dead_letter(log, seq, name, destinations[name]) for seq, name in keys]


def _dead_letter(log: MemoryLog, seq: int, name: str, progress: DestinationProgress) -> DeadLetter:
    exception = progress.exceptions[seq]
    return DeadLetter(
        seq=seq,
        destination=name,
        conversion=log.entry(seq).conversion,
        attempts=exception.failure.attempts,
        error=exception.failure.error,
        code=exception.failure.code,
        died_at=exception.failed_at,
    )
