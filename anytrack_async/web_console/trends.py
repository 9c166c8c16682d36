"""The last hour and day of an outbox: conversions accepted, delivered, and lost in between."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import attrs
import orjson

from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.history import DAY, HOUR, MINUTE, OutcomeCount
from anytrack_async.web_console import history, texts

_QUARTER = 15 * MINUTE

_FRESH_FOR = 10.0
"""Seconds for which counts are reused without reading again: a day has thousands of counts."""


@attrs.frozen(kw_only=True)
class Series:
    """A line of a chart: a name, and a value for each time."""

    name: str
    values: Sequence[float]


@attrs.frozen(kw_only=True)
class Chart:
    """A chart, and the table behind it.

    Attributes:
        title: the heading.
        times: when each interval began, unix seconds.
        series: the lines of the chart.
    """

    title: str
    times: Sequence[int]
    series: Sequence[Series]

    @property
    def json(self) -> str:
        """The chart for the script that draws it."""
        lines = [{"name": line.name, "values": line.values} for line in self.series]
        return orjson.dumps({"times": self.times, "series": lines}).decode()

    @property
    def rows(self) -> Sequence[tuple[int, Sequence[float]]]:
        """Time → the value of each series, the latest first, without times at which all are 0."""
        columns = [line.values for line in self.series]
        rows = zip(self.times, *columns, strict=True)
        return [(when, values) for when, *values in rows if any(values)][::-1]


@attrs.frozen(kw_only=True)
class Loss:
    """Conversions that a destination did not accept in an attempt, by reason.

    Attributes:
        state: retrying, dead letter or skipped.
        code: the destination's error code, or empty.
        number: attempts.
    """

    state: texts.State
    code: str
    number: int


@attrs.frozen(kw_only=True)
class Funnel:
    """A day's deliveries and losses at a destination.

    Attributes:
        destination: its name.
        delivered: conversions delivered.
        losses: lost or delayed conversions by state and code, the most frequent first.
    """

    destination: str
    delivered: int
    losses: Sequence[Loss]

    @property
    def dead(self) -> int:
        """Conversions that became dead letters."""
        return sum(loss.number for loss in self.losses if loss.state is texts.OUTCOMES["dead"])


@attrs.frozen(kw_only=True)
class Trends:
    """The last day on the overview.

    Attributes:
        accepted: conversions accepted in the last 24 hours.
        funnels: for each destination, how many of them were delivered, wait, or were lost.
        hour: deliveries by minute.
        day: deliveries by quarter of an hour.
    """

    accepted: int
    funnels: Sequence[Funnel]
    hour: Chart
    day: Chart

    @property
    def most(self) -> int:
        """The length of the longest bar."""
        return max(1, self.accepted, *(funnel.delivered for funnel in self.funnels))


class TrendReader:
    """Reads the trends of an outbox, at most every ten seconds."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._trends: Trends | None = None

    async def read(self, outbox: Outbox) -> Trends | None:
        """Return the trends; None if *outbox* keeps no history."""
        past = history.kept(outbox)
        if past is None:
            return None
        if time.monotonic() - self._read_at > _FRESH_FOR:
            now = time.time()
            outcomes = await past.outcome_counts(since=now - DAY)
            accepted = await past.accepted_counts(since=now - DAY + HOUR)
            number = sum(item.count for item in accepted)
            self._trends = make_trends(outcomes, number, now, await outbox.destinations())
            self._read_at = time.monotonic()
        return self._trends


def make_trends(
    outcomes: Sequence[OutcomeCount], accepted: int, now: float, destinations: Sequence[str]
) -> Trends:
    """Return the trends of a day.

    Args:
        outcomes: `OutcomeCount` objects of the last 24 hours.
        accepted: conversions accepted in that time.
        now: unix seconds.
        destinations: every destination.
    """
    last_hour = [item for item in outcomes if item.minute >= now - HOUR]
    return Trends(
        accepted=accepted,
        funnels=[_funnel(name, outcomes) for name in destinations],
        hour=_chart("Last hour, by minute", last_hour, now, HOUR, MINUTE, destinations),
        day=_chart(
            "Last 24 hours, by quarter of an hour", outcomes, now, DAY, _QUARTER, destinations
        ),
    )


def _funnel(destination: str, outcomes: Iterable[OutcomeCount]) -> Funnel:
    delivered, losses = 0, Counter[tuple[str, str]]()
    for item in outcomes:
        if item.destination != destination:
            continue
        if item.status == "delivered":
            delivered += item.count
        else:
            status = "retry" if item.status == "waiting" else str(item.status)
            losses[status, item.code] += item.count
    return Funnel(
        destination=destination,
        delivered=delivered,
        losses=[
            Loss(state=texts.OUTCOMES[status], code=code, number=number)
            for (status, code), number in losses.most_common(8)
        ],
    )


def _chart(
    title: str,
    outcomes: Iterable[OutcomeCount],
    now: float,
    period: int,
    step: int,
    destinations: Sequence[str],
) -> Chart:
    """Return deliveries by destination, and failed attempts of all, in intervals of *step* s."""
    # At 12:34:56, in steps of 60 s, the last interval begins at 12:34:00, and is not complete yet.
    last = int(now) // step * step
    times = range(last - period + step, last + step, step)
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for item in outcomes:
        name = item.destination if item.status == "delivered" else _FAILED
        counts[name][item.minute // step * step] += item.count
    names = [*destinations, *([_FAILED] if _FAILED in counts else [])]
    return Chart(
        title=title, times=list(times), series=[_series(name, counts, times) for name in names]
    )


_FAILED = "attempts that failed"


def _series(name: str, counts: Mapping[str, Mapping[int, int]], times: Iterable[int]) -> Series:
    values = counts.get(name, {})
    return Series(name=name, values=[values.get(moment, 0) for moment in times])
