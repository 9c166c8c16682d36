"""`Counts`: conversions counted in memory, by hour and kind, and their outcomes by minute.

The memory outbox keeps them; an outbox on disk writes them there now and then. Counting takes some
0.3 microseconds for a conversion, because it is done for a group at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal, localcontext
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import SKIPPED_CODE, Status
from anytrack_async.outbox.base import Claim, FailedEntry
from anytrack_async.outbox.history import (
    DAY,
    HOUR,
    MINUTE,
    NAMES_PER_DAY,
    OTHER,
    AcceptedCount,
    OutcomeCount,
)

MAX_NAME = 100
"""Characters of a source or campaign that are kept."""

_kind = attrgetter("conversion_type", "currency", "source", "campaign_id")
_revenue = attrgetter("revenue")

_CONTEXT = Context(prec=40)
"""The caller's own decimal context may raise where a sum is rounded."""


class Kind(NamedTuple):
    """What accepted conversions are counted by."""

    hour: int
    conversion_type: str
    currency: str
    source: str
    campaign: str


class Result(NamedTuple):
    """What outcomes are counted by."""

    minute: int
    destination: str
    status: Status
    code: str


_Raw: TypeAlias = tuple[str | None, ...]
_MAX_KINDS = 2_000
"""Kinds of conversions that are kept in a cache; when there are more, the cache starts anew."""

Names: TypeAlias = tuple[str, str]
"""A source and a campaign."""


class Counts:
    """Counts since it was created.

    Args:
        max_names: pairs of source and campaign of a day that are counted apart.

    Attributes:
        accepted: kind → number of conversions and the sum of their revenues.
        outcomes: result → number of conversions and the sum of seconds since their acceptance.
    """

    def __init__(self, max_names: int = NAMES_PER_DAY) -> None:
        self._max_names = max_names
        self.accepted: dict[Kind, tuple[int, Decimal]] = {}
        self.outcomes: dict[Result, tuple[int, float]] = {}
        self._names: set[Names] = set()
        self._day = self._hour = 0
        self._kinds: dict[_Raw, Kind] = {}  # of the present hour

    def __bool__(self) -> bool:
        return bool(self.accepted or self.outcomes)

    def successor(self) -> Counts:
        """Return empty counts that know the names of the day."""
        counts = Counts(self._max_names)
        counts._names, counts._day = self._names, self._day
        counts._kinds, counts._hour = self._kinds, self._hour
        return counts

    def add(self, counts: Counts) -> None:
        """Add *counts* to these counts."""
        for kind, numbers in counts.accepted.items():
            self.add_kind(kind, *numbers)
        for result, outcomes in counts.outcomes.items():
            self.add_result(result, *outcomes)

    def add_accepted(self, conversions: Sequence[Conversion], date: float) -> None:
        """Count conversions that were accepted at *date*, unix seconds."""
        hour = int(date) // HOUR * HOUR
        counted = Counter(map(_kind, conversions))
        with localcontext(_CONTEXT):
            values = dict.fromkeys(counted, Decimal(0))
            if len(counted) == 1:  # `sum` takes a third of the time of a loop
                values[next(iter(counted))] = sum(map(_revenue, conversions), Decimal(0))
            else:
                for conversion in conversions:
                    values[_kind(conversion)] += conversion.revenue
        if hour != self._hour or len(self._kinds) > _MAX_KINDS:
            self._hour, self._kinds = hour, {}
        for kind, count in counted.items():
            named_kind = self._kinds.get(kind) or self._to_kind(hour, kind)
            self.add_kind(named_kind, count, values[kind])

    def _to_kind(self, hour: int, raw: _Raw) -> Kind:
        conversion_type, currency, *labels = raw
        source, campaign = ((name or "")[:MAX_NAME] for name in labels)
        names = self._known(source, campaign, hour)
        kind = self._kinds[raw] = Kind(hour, str(conversion_type), str(currency), *names)
        return kind

    def _known(self, source: str, campaign: str, hour: int) -> Names:
        """Return the names to count by: those given, or `OTHER` if there are too many today."""
        if hour // DAY != self._day:
            self._day, self._names = hour // DAY, set()
        names = (source, campaign)
        if names not in self._names:
            if len(self._names) >= self._max_names:
                return OTHER, OTHER
            self._names.add(names)
        return names

    def add_kind(self, kind: Kind, count: int, value: Decimal) -> None:
        """Count *count* more conversions of *kind*, with revenues of *value* together."""
        old_count, old_value = self.accepted.get(kind, (0, Decimal(0)))
        self.accepted[kind] = (old_count + count, _CONTEXT.add(old_value, value))

    def add_outcomes(
        self, claim: Claim, failed: Sequence[FailedEntry], now: float, date: float
    ) -> None:
        """Count the outcomes of a claim that is settled.

        Args:
            claim: the claim.
            failed: its entries that were not delivered.
            now: the time on the outbox's clock, unix seconds.
            date: the date, unix seconds.
        """
        entries = claim.entries
        count, seconds = len(entries.seqs), now * len(entries.seqs) - sum(entries.accepted_at)
        minute = int(date) // MINUTE * MINUTE
        if failed:
            accepted_at = dict(zip(entries.seqs, entries.accepted_at, strict=True))
            for entry in failed:
                # An entry that cannot be read is in no claim, and its age is not known.
                age = now - accepted_at[entry.seq] if entry.seq in accepted_at else 0.0
                count, seconds = count - (entry.seq in accepted_at), seconds - age
                result = Result(minute, claim.destination, status_of(entry), entry.code or "")
                self.add_result(result, 1, age)
        if count:
            delivered = Result(minute, claim.destination, Status.DELIVERED, str(Status.DELIVERED))
            self.add_result(delivered, count, seconds)

    def add_result(self, result: Result, count: int, seconds: float) -> None:
        """Count *count* more outcomes, *seconds* after the acceptance together."""
        old_count, old_seconds = self.outcomes.get(result, (0, 0.0))
        self.outcomes[result] = (old_count + count, old_seconds + max(seconds, 0.0))

    def add_released(
        self, claim: Claim, positions: Sequence[int], code: str | None, now: float, date: float
    ) -> None:
        """Count entries of a claim that is released, by their indexes in it."""
        accepted_at = claim.entries.accepted_at
        seconds = sum(now - accepted_at[index] for index in positions)
        result = Result(int(date) // MINUTE * MINUTE, claim.destination, Status.WAITING, code or "")
        self.add_result(result, len(positions), seconds)


def status_of(entry: FailedEntry) -> Status:
    """Return the status of an entry that was not delivered."""
    if entry.due is not None:
        return Status.WAITING
    return Status.SKIPPED if entry.code == SKIPPED_CODE else Status.DEAD


def accepted_counts(
    counts: Iterable[tuple[Kind, tuple[int, Decimal]]], since: float, until: float | None
) -> list[AcceptedCount]:
    """Return *counts* of a period as records, oldest first; see `KeepsHistory`."""
    return [
        AcceptedCount(**kind._asdict(), count=count, value=value)
        for kind, (count, value) in sorted(counts)
        if kind.hour > since - HOUR and (until is None or kind.hour < until)
    ]


def outcome_counts(
    counts: Mapping[Result, tuple[int, float]],
    since: float,
    until: float | None,
    destination: str | None,
) -> list[OutcomeCount]:
    """Return *counts* of a period as records, oldest first; see `KeepsHistory`."""
    return [
        OutcomeCount(**result._asdict(), count=count, seconds=seconds)
        for result, (count, seconds) in sorted(counts.items())
        if result.minute > since - MINUTE
        and (until is None or result.minute < until)
        and destination in (None, result.destination)
    ]
