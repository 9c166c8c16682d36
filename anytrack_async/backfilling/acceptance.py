"""The step after mapping: `Outboxed` accepts a block's conversions, `DryRun` only counts them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import compress
from typing import Protocol

import anyio

from anytrack_async.backfilling.addressing import Addressing
from anytrack_async.backfilling.blocks import MappedBlock
from anytrack_async.backfilling.report import REPEAT, Reject, RowCounts
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.clock import CLOCK_ERROR
from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.errors import QueueFullError
from anytrack_async.models.contradiction import Contradiction, find_contradiction, summary
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.notes import NOTED_KINDS
from anytrack_async.outbox.base import Appended, AppendResult, Outbox
from anytrack_async.outbox.capabilities import KeepsSummaries

_REPEAT_REASON = (
    "its event id was accepted before: remove the row, or give it another order id if it is "
    "another conversion"
)


class Acceptance(Protocol):
    """Takes the conversions of blocks."""

    @property
    def destinations(self) -> Sequence[str]:
        """The destinations that the conversions are for."""
        ...

    async def accept(self, block: MappedBlock, counts: RowCounts) -> list[Reject]:
        """Take the conversions of *block*, add to *counts*, and return the rejected rows.

        Rows that were rejected or skipped before are not counted again.
        """
        ...

    @property
    def oldest(self) -> datetime | None:
        """The earliest time of a conversion that some destination takes; None for no limit."""
        ...

    def expected_seconds(self) -> Mapping[str, float]:
        """Return destination → seconds that delivery takes at its rate limit."""
        ...


class Outboxed:
    """Accepts conversions into a client's outbox.

    Args:
        client: an open client.
        settings: destinations, duplicates, rate, and the handling of old conversions.
    """

    def __init__(
        self,
        client: AnyTrackClient,
        settings: BackfillSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._settings = settings
        self._addressing = Addressing(client.limits, settings, clock)
        self._pace = _Pace(settings.rate)
        # The first block after a checkpoint may have been accepted before the interruption.
        self._tolerant = settings.resume

    @property
    def destinations(self) -> Sequence[str]:
        """The destinations that the conversions are for."""
        return self._addressing.names

    @property
    def oldest(self) -> datetime | None:
        """The earliest time of a conversion that some destination takes; None for no limit."""
        return self._addressing.oldest

    async def accept(self, block: MappedBlock, counts: RowCounts) -> list[Reject]:
        """Accept the conversions of *block*; see `Acceptance`."""
        rejects = list(block.rejects)
        strict = self._settings.duplicates == "fail" and not self._tolerant
        for names, indexes in self._addressing.split(block):
            if not names:
                counts.skip(self._addressing.reason, len(indexes))
                continue
            conversions = [block.conversions[index] for index in indexes]
            results = await self._append(conversions, names)
            self._addressing.count(names, results.count(Appended.NEW), counts)
            rejects += _judge(
                block, indexes, results, counts, strict=strict, now=self._addressing.now
            )
        if block.conversions:
            self._tolerant = False
        return rejects

    async def _append(
        self, conversions: Sequence[Conversion], names: Sequence[str]
    ) -> list[AppendResult]:
        to = None if self._settings.to is None and len(names) == len(self._client.limits) else names
        results: list[AppendResult] = []
        for start in range(0, len(conversions), self._pace.size):
            part = conversions[start : start + self._pace.size]
            results += await self._accept_part(part, to)
            await self._pace.wait(len(part))
        return results

    async def _accept_part(
        self, part: Sequence[Conversion], to: Sequence[str] | None
    ) -> list[AppendResult]:
        """Accept *part*, in halves if it is more than an empty outbox has room for."""
        try:
            return list(await self._client.accept_many(part, to=to))
        except QueueFullError as exc:
            fits = not exc.too_large and len(part) <= self._client.outbox.capacity
            if fits or len(part) == 1:
                raise
        # 1,000 conversions and a capacity of 300: parts of 500 do not fit, parts of 250 do.
        half = len(part) // 2
        first = await self._accept_part(part[:half], to)
        return first + await self._accept_part(part[half:], to)

    def expected_seconds(self) -> Mapping[str, float]:
        """Return nothing: progress shows how long it takes."""
        return {}


class DryRun:
    """Counts conversions, and accepts none.

    Args:
        limits: destination → limits of its sink.
        settings: destinations, duplicates, and the handling of old conversions.
        outbox: an open outbox, to find conversions accepted before.
    """

    def __init__(
        self,
        limits: Mapping[str, SinkLimits],
        settings: BackfillSettings,
        outbox: Outbox | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._outbox = outbox
        self._strict = settings.duplicates == "fail"
        self._addressing = Addressing(limits, settings, clock)
        self._expected: dict[str, int] = dict.fromkeys(self._addressing.names, 0)

    @property
    def destinations(self) -> Sequence[str]:
        """The destinations that the conversions would be for."""
        return self._addressing.names

    @property
    def oldest(self) -> datetime | None:
        """The earliest time of a conversion that some destination takes; None for no limit."""
        return self._addressing.oldest

    async def accept(self, block: MappedBlock, counts: RowCounts) -> list[Reject]:
        """Count the conversions of *block*; see `Acceptance`."""
        rejects = list(block.rejects)
        summaries = await self._known(block.conversions)
        if not summaries and block.repeats.count(None) == len(block.conversions):
            self._count_new(block, counts)  # nearly always
            return rejects
        results = _expected_results(block, summaries)
        for names, indexes in self._addressed(block, counts):
            clear = [index for index in indexes if not _contradicts(block, index)]
            part = [results[index] for index in clear]
            self._expect(names, part.count(Appended.NEW), counts)
            rejects += _judge(
                block, clear, part, counts, strict=self._strict, now=self._addressing.now
            )
            rejects += _contradictions(block, indexes, counts)
        return rejects

    def _count_new(self, block: MappedBlock, counts: RowCounts) -> None:
        """Count the conversions of a *block* in which none is a repeat."""
        for names, indexes in self._addressed(block, counts):
            self._expect(names, len(indexes), counts)
            accepted = [block.conversions[index] for index in indexes]
            _count_accepted(accepted, counts, self._addressing.now)

    def _addressed(
        self, block: MappedBlock, counts: RowCounts
    ) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
        """Yield destinations and indexes as `Addressing.split`; count those without as skipped."""
        for names, indexes in self._addressing.split(block):
            if not names and self._addressing.names:
                counts.skip(self._addressing.reason, len(indexes))
            else:
                yield names, indexes

    def _expect(self, names: Sequence[str], new: int, counts: RowCounts) -> None:
        self._addressing.count(names, new, counts)
        for name in names:
            self._expected[name] += new

    async def _known(self, conversions: Sequence[Conversion]) -> Mapping[str, str | None]:
        """Return event id → `summary` of each conversion that the outbox has accepted.

        The value is None if the outbox knows the event id but keeps no summaries. Event ids that
        the outbox does not know are left out.
        """
        if self._outbox is None or not conversions:
            return {}
        event_ids = [conversion.event_id for conversion in conversions]
        if isinstance(self._outbox, KeepsSummaries):
            return await self._outbox.summaries(event_ids)
        return dict.fromkeys(await self._outbox.reports(event_ids))

    def expected_seconds(self) -> Mapping[str, float]:
        """Return destination → seconds that delivery would take at its rate limit.

        1,000,000 conversions in batches of 100 at 19 requests/s take 526 s.
        """
        return {
            name: count / limits.batch / limits.rate
            for name, count in self._expected.items()
            if (limits := self._limits[name]).rate is not None
        }


def _expected_results(
    block: MappedBlock, summaries: Mapping[str, str | None]
) -> list[AppendResult]:
    """Return the result of appending each conversion of *block* to the outbox.

    A conversion is a repeat if the outbox knows its event id, or an earlier row has the same.
    """
    results = [_result(conversion, summaries) for conversion in block.conversions]
    for index, same in enumerate(block.repeats):
        if same is True and results[index] is Appended.NEW:
            results[index] = Appended.REPEAT
    return results


def _result(conversion: Conversion, summaries: Mapping[str, str | None]) -> AppendResult:
    """Return the result that the outbox would have for *conversion*, without appending it."""
    event_id = conversion.event_id
    if event_id not in summaries:
        return Appended.NEW
    contradiction = find_contradiction(event_id, summaries[event_id], summary(conversion))
    return contradiction or Appended.REPEAT


def _contradicts(block: MappedBlock, index: int) -> bool:
    return bool(block.repeats) and block.repeats[index] is False


def _contradictions(block: MappedBlock, indexes: Sequence[int], counts: RowCounts) -> list[Reject]:
    rejects = []
    for index in indexes:
        if _contradicts(block, index):
            counts.repeats += 1
            counts.contradictions += 1
            event_id = block.conversions[index].event_id
            reason = (
                f"conversion {event_id!r} stands further up in the file with another type, amount "
                "or currency; the first one counts"
            )
            rejects.append(block.reject(block.origins[index], "", reason, event_id))
    return rejects


def _judge(
    block: MappedBlock,
    indexes: Sequence[int],
    results: Sequence[AppendResult],
    counts: RowCounts,
    *,
    strict: bool,
    now: datetime,
) -> list[Reject]:
    """Count the *results* of the conversions at *indexes*; return those that are rejected."""
    new = [result is Appended.NEW for result in results]
    accepted = [block.conversions[index] for index in compress(indexes, new)]
    _count_accepted(accepted, counts, now)
    rejects = []
    for index, result in zip(indexes, results, strict=True):
        if result is Appended.NEW:
            continue
        counts.repeats += 1
        event_id = block.conversions[index].event_id
        origin = block.origins[index]
        if isinstance(result, Contradiction):
            counts.contradictions += 1
            reason = f"{result}; the first one counts"
            rejects.append(block.reject(origin, "", reason, event_id))
        elif strict:
            rejects.append(block.reject(origin, "", _REPEAT_REASON, event_id))
        else:
            counts.skip(REPEAT)
    return rejects


def _count_accepted(conversions: Sequence[Conversion], counts: RowCounts, now: datetime) -> None:
    if not conversions:
        return
    counts.accepted += len(conversions)
    _add_revenues(conversions, counts.totals)
    times = [conversion.timestamp for conversion in conversions]
    earliest, latest = min(times), max(times)
    counts.earliest = min(counts.earliest or earliest, earliest)
    counts.latest = max(counts.latest or latest, latest)
    soonest = now + CLOCK_ERROR
    if latest > soonest:
        counts.future += sum(moment > soonest for moment in times)
    if NOTED_KINDS:
        for conversion in conversions:
            for kind in conversion.weakened:
                counts.weakened[kind] = counts.weakened.get(kind, 0) + 1


def _add_revenues(conversions: Sequence[Conversion], totals: dict[str, Decimal]) -> None:
    sales = [item for item in conversions if item.conversion_type is ConversionType.SALE]
    for currency in {sale.currency for sale in sales}:
        amounts = (sale.revenue for sale in sales if sale.currency == currency)
        totals[currency] = sum(amounts, totals.get(currency, Decimal(0)))


class _Pace:
    """Keeps to a number of conversions per second.

    At 10/s, parts of 5 are accepted, each followed by half a second; at 5,000/s, parts of 1,000.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self.size = 1_000 if rate is None else max(1, min(1_000, int(rate / 2)))
        self._next: float | None = None

    async def wait(self, count: int) -> None:
        """Wait until more may be accepted after *count* conversions."""
        if self._rate is None:
            return
        now = anyio.current_time()
        self._next = max(self._next or now, now) + count / self._rate
        await anyio.sleep_until(self._next)
