"""Copying the failed attempts that an outbox file remembers into another outbox.

A conversion delivered by its first attempt has no failed attempts; of these, the other outbox only
knows that they need no delivery. Adding an attempt twice changes nothing, so a copy can be
repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.history import PastAttempt, with_deliveries
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox


@runtime_checkable
class TakesAttempts(Protocol):
    """Optional part of an outbox that can take over attempts of another one."""

    async def add_attempts(self, attempts: Mapping[str, Sequence[PastAttempt]]) -> None:
        """Add attempts by event id; those that are there already stay as they are."""


async def copy_attempts(
    source: SQLiteOutbox, target: Outbox, event_ids: Sequence[str], reports: Mapping[str, Report]
) -> None:
    """Add the failed attempts at some conversions, which *target* knows, to its history.

    Args:
        source: the outbox file.
        target: the other outbox; nothing is done unless it takes attempts.
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
