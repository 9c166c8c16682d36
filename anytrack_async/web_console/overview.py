"""The overview: a card for each destination, lost conversions, the last hour and day."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

import attrs
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from anytrack_async.client.stats import DestinationStats
from anytrack_async.delivery.flow import LaneState
from anytrack_async.destinations.sink import SupportsQuota
from anytrack_async.errors import AnyTrackError
from anytrack_async.outbox.base import Depth
from anytrack_async.outbox.capabilities import CountsDelivered, oldest_ages
from anytrack_async.outbox.pauses import Pause
from anytrack_async.web_console import texts
from anytrack_async.web_console.pages import Context, fragment
from anytrack_async.web_console.source import ConsoleSource
from anytrack_async.web_console.trends import TrendReader

_RATE_OVER = 60.0
"""Seconds over which rates are measured."""

_LANES = {
    LaneState.HELD: texts.HELD,
    LaneState.DOWN: texts.DOWN,
    LaneState.PAUSED: texts.PAUSED,
    LaneState.THROTTLED: texts.THROTTLED,
}


@attrs.frozen(kw_only=True)
class Card:
    """A destination on the overview.

    Attributes:
        destination: the destination's name.
        state: the state of its lane, in words.
        reason: why the lane is in that state, in the destination's own words.
        state_for: seconds since the state began; None if that is not known.
        paused_for: seconds for which nothing is sent.
        depth: numbers of conversions that it has not received.
        pause: time, operator and reason of a pause; None if the destination is not paused.
        oldest_age: seconds since the oldest waiting conversion was accepted.
        delivered: conversions that it has received.
        rate_in: conversions accepted for it per second.
        rate_out: conversions delivered to it per second.
        quota_used: the used part of the service's limit, from 0 to 1; None if it is not known.
    """

    destination: str
    state: texts.State
    reason: str = ""
    state_for: float | None = None
    paused_for: float = 0.0
    pause: Pause | None = None
    depth: Depth
    oldest_age: float | None = None
    delivered: int | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    quota_used: float | None = None


class Overview:
    """The page, and its part that is updated while it is open.

    Args:
        source: the client or outbox to show.
    """

    def __init__(self, source: ConsoleSource) -> None:
        self._source = source
        self._rates = Rates()
        self._trends = TrendReader()

    async def page(self, context: Context, request: Request) -> Response:
        """Return the page."""
        outbox = await context.source.outbox()
        return await context.page(
            request,
            "overview.html",
            cards=await self._cards(),
            trends=await self._trends.read(outbox),
        )

    async def trends(self, context: Context, request: Request) -> Response:
        """Return the part of the page with the charts, which is loaded anew every minute."""
        outbox = await context.source.outbox()
        return HTMLResponse(fragment("trends.html", trends=await self._trends.read(outbox)))

    async def fragment(self) -> str:
        """Return the part of the page that changes; a sentence if the outbox cannot be read."""
        try:
            return fragment("cards.html", cards=await self._cards())
        except AnyTrackError as exc:
            return fragment("unavailable.html", message=str(exc))

    async def _cards(self) -> Sequence[Card]:
        outbox = await self._source.outbox()
        depths = await outbox.depths()
        delivered = await outbox.delivered_counts() if isinstance(outbox, CountsDelivered) else {}
        ages, lanes = await oldest_ages(outbox), await self._source.lanes()
        pauses = await self._source.pauses()
        self._rates.add(time.monotonic(), depths, delivered)
        cards = [
            make_card(
                name,
                depth,
                lanes.get(name),
                pause=pauses.get(name),
                oldest_age=ages.get(name),
                delivered=delivered.get(name),
                rates=self._rates.of(name),
                quota_used=self._quota_used(name),
            )
            for name, depth in depths.items()
        ]
        return sorted(cards, key=lambda card: (card.state.rank, -card.depth.dead, card.destination))

    def _quota_used(self, destination: str) -> float | None:
        sink: object = self._source.client and self._source.client.sinks.get(destination)
        return sink.quota_used if isinstance(sink, SupportsQuota) else None


def make_card(
    name: str,
    depth: Depth,
    lane: DestinationStats | None,
    *,
    pause: Pause | None = None,
    oldest_age: float | None = None,
    delivered: int | None = None,
    rates: tuple[float | None, float | None] = (None, None),
    quota_used: float | None = None,
) -> Card:
    """Return the card of the destination *name*."""
    rate_in, rate_out = rates
    paused_for = lane.paused_for if lane else 0.0
    state, state_for = _state(depth, lane, rate_out), lane.state_for if lane else None
    reason = lane.reason if lane else ""
    if pause is not None:
        state, state_for = texts.PAUSED, time.time() - pause.since
        reason = pause.reason
    return Card(
        destination=name,
        state=state,
        reason=reason,
        state_for=state_for,
        paused_for=paused_for,
        pause=pause,
        depth=depth,
        oldest_age=oldest_age,
        delivered=delivered,
        rate_in=rate_in,
        rate_out=rate_out,
        quota_used=quota_used,
    )


def _state(depth: Depth, lane: DestinationStats | None, rate_out: float | None) -> texts.State:
    if lane is not None and lane.state in _LANES:
        return _LANES[lane.state]
    if not depth.waiting:
        return texts.IDLE
    if depth.in_flight or rate_out:
        return texts.DELIVERING
    if depth.retrying == depth.waiting:
        return texts.RETRYING
    if lane is not None and lane.state is not None:
        return texts.DELIVERING
    # No lane in this process, and nothing is leased by another one.
    return texts.NO_WORKER


class Rates:
    """Conversions per second, from how much the counts of the last minute have grown."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, tuple[int, int]]]] = deque()

    def add(self, now: float, depths: Mapping[str, Depth], delivered: Mapping[str, int]) -> None:
        """Add the counts of a moment, in monotonic seconds."""
        counts = {
            name: (delivered[name] + depth.waiting + depth.dead, delivered[name])
            for name, depth in depths.items()
            if name in delivered
        }
        self._samples.append((now, counts))
        while self._samples[0][0] < now - _RATE_OVER:
            self._samples.popleft()

    def of(self, destination: str) -> tuple[float | None, float | None]:
        """Return how many are accepted for, and delivered to, *destination* per second.

        300 delivered at the first sample and 900 a minute later are 10 a second. None while there
        is one sample only.
        """
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        if seconds < 1 or destination not in first[1] or destination not in last[1]:
            return None, None
        accepted, delivered = (
            max(0, new - old) / seconds
            for old, new in zip(first[1][destination], last[1][destination], strict=True)
        )
        return accepted, delivered
