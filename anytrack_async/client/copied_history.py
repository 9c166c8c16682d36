"""Copying the history of an outbox file into another outbox: counts, and failed attempts.

Copied conversions were accepted before, so appending them to the other outbox counts nothing; the
counts of the source are added instead. The position in the source's history, and the counts of the
last hour and minute, are saved in the same step: copying again adds the difference. With 3 sales of
this hour copied, and 5 now, 2 are added.

A conversion delivered by its first attempt has no failed attempts; of these, the other outbox only
knows that they need no delivery. Adding an attempt twice changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsCheckpoints
from anytrack_async.outbox.counting import Counts, Kind, Result
from anytrack_async.outbox.history import KeepsHistory, PastAttempt, with_deliveries
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

# Counts


@runtime_checkable
class TakesCounts(Protocol):
    """Optional part of an outbox that can take over counts of another one."""

    def pause_counting(self, paused: bool, /) -> None:
        """Stop counting, or count again from now on."""

    async def add_counts(self, counts: Counts, checkpoint: str, value: bytes) -> None:
        """Add *counts* and save a checkpoint, in one step."""


@contextmanager
def not_counted(target: Outbox) -> Iterator[None]:
    """Switch off the counting of *target* inside the ``with`` block, if *target* allows it."""
    if not isinstance(target, TakesCounts):
        yield
        return
    target.pause_counting(True)
    try:
        yield
    finally:
        target.pause_counting(False)


async def copy_counts(source: KeepsHistory, target: Outbox, name: str) -> None:
    """Add to *target* the counts of *source* since the last copy.

    Args:
        source: the outbox that was copied.
        target: the other outbox; unchanged if it takes no counts.
        name: name of the copy, for its checkpoint.
    """
    if not isinstance(target, TakesCounts) or not isinstance(target, KeepsCheckpoints):
        return
    name = f"counts of {name}"
    copied = _from_json(await target.checkpoint(name))
    counts = await _counts_of(source, copied)
    # An hour that was copied before may have grown: 5 sales now, 3 of them copied, adds 2.
    added, last = Counts(), _last_of(counts)
    for kind, (count, value) in counts.accepted.items():
        old_count, old_value = copied.accepted.get(kind, (0, Decimal(0)))
        added.add_kind(kind, count - old_count, value - old_value)
    for result, (count, seconds) in counts.outcomes.items():
        old_count, old_seconds = copied.outcomes.get(result, (0, 0.0))
        added.add_result(result, count - old_count, seconds - old_seconds)
    await target.add_counts(added, name, _to_json(last))


async def _counts_of(source: KeepsHistory, copied: Counts) -> Counts:
    """Return the counts of *source* from the last hour and minute of *copied* on."""
    counts = Counts()
    hour = max((kind.hour for kind in copied.accepted), default=0)
    minute = max((result.minute for result in copied.outcomes), default=0)
    for item in await source.accepted_counts(since=hour):
        kind = Kind(item.hour, item.conversion_type, item.currency, item.source, item.campaign)
        counts.accepted[kind] = (item.count, item.value)
    for outcome in await source.outcome_counts(since=minute):
        result = Result(outcome.minute, outcome.destination, outcome.status, outcome.code)
        counts.outcomes[result] = (outcome.count, outcome.seconds)
    return counts


def _last_of(counts: Counts) -> Counts:
    """Return the counts of the last hour and minute only."""
    last = Counts()
    hour = max((kind.hour for kind in counts.accepted), default=0)
    minute = max((result.minute for result in counts.outcomes), default=0)
    last.accepted = {
        kind: numbers for kind, numbers in counts.accepted.items() if kind.hour == hour
    }
    last.outcomes = {
        result: numbers for result, numbers in counts.outcomes.items() if result.minute == minute
    }
    return last


def _to_json(counts: Counts) -> bytes:
    accepted = [[*kind, count, str(value)] for kind, (count, value) in counts.accepted.items()]
    outcomes = [[*result, *numbers] for result, numbers in counts.outcomes.items()]
    return json.dumps({"accepted": accepted, "outcomes": outcomes}).encode()


def _from_json(text: bytes | None) -> Counts:
    stored: Mapping[str, Any] = json.loads(text) if text else {"accepted": [], "outcomes": []}
    counts = Counts()
    for *kind, count, value in stored["accepted"]:
        counts.accepted[Kind._make(kind)] = (count, Decimal(value))
    for minute, name, status, code, count, seconds in stored["outcomes"]:
        result = Result(minute, name, Status(status), code)
        counts.outcomes[result] = (count, seconds)
    return counts


# Failed attempts


@runtime_checkable
class TakesAttempts(Protocol):
    """Optional part of an outbox that can take over attempts of another one."""

    async def add_attempts(self, attempts: Mapping[str, Sequence[PastAttempt]]) -> None:
        """Add attempts by event id; attempts that are there already stay unchanged."""


async def copy_attempts(
    source: SQLiteOutbox, target: Outbox, event_ids: Sequence[str], reports: Mapping[str, Report]
) -> None:
    """Add the failed attempts at some conversions, which *target* knows, to its history.

    Args:
        source: the outbox file.
        target: the other outbox; unchanged if it takes no attempts.
        event_ids: the conversions.
        reports: event id → report of the conversion, from *source*.
    """
    if not isinstance(target, TakesAttempts):
        return
    past_attempts = await source.past_attempts(event_ids)
    if not past_attempts:
        return
    await target.add_attempts(
        {
            event_id: with_deliveries(attempts, _delivered(dates, reports.get(event_id)))
            for event_id, (attempts, dates) in past_attempts.items()
        }
    )


def _delivered(dates: Mapping[str, float], report: Report | None) -> dict[str, float]:
    """Return the times of destinations that have the conversion: it may have died there since."""
    outcomes = report.outcomes if report else {}
    delivered = {name for name, item in outcomes.items() if item.status is Status.DELIVERED}
    return {name: date for name, date in dates.items() if name in delivered}
