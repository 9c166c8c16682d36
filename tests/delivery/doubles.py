"""Fakes around a dispatcher: scripted sinks, a clock, and a record of all events."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

from anytrack_async.delivery.attempt import Attempt
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.flow import FlowControl
from anytrack_async.delivery.track_many import Source, track_many
from anytrack_async.destinations.sink import BatchRejected, SinkLimits, SinkSignal, Unavailable
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import DELIVERED, Outcome, Report
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry

DAY = 86_400.0

QUICK = DeliverySettings(
    retry=Retry(attempts=8, base=0.001, cap=0.002, hint_cap=DAY),
    probe=Retry(base=0.001, cap=0.002),
    poll=0.005,
)

Answer = Callable[[list[str]], Any]


def sale(event_id: str, revenue: int = 1) -> Conversion:
    return Conversion.sale(event_id=event_id, revenue=revenue)


def sales(count: int, prefix: str = "e") -> list[Conversion]:
    return [sale(f"{prefix}{number}") for number in range(count)]


def ids(conversions: Sequence[Conversion]) -> list[str]:
    return [conversion.event_id for conversion in conversions]


def stream(
    world: World,
    source: Source,
    *,
    to: Sequence[str] | None = None,
    at: Sequence[str] | None = None,
    in_flight: int = 10_000,
) -> AsyncGenerator[Report]:
    """Track the conversions of *source* in *world*."""
    return track_many(world.dispatcher, source, to=to, at=at, in_flight=in_flight)


async def ids_of(reports: AsyncIterable[Report], finished: list[str] | None = None) -> list[str]:
    """Return the event ids of *reports*; *finished* has those so far."""
    finished = [] if finished is None else finished
    async for report in reports:
        finished.append(report.event_id)
    return finished


def statuses_of(outcomes: Sequence[Outcome | None]) -> list[str | None]:
    return [outcome.status.value if outcome else None for outcome in outcomes]


def rejecting(bad: Collection[str], *, kind: type[SinkSignal] = BatchRejected) -> Answer:
    """Return an answer that refuses each batch with a conversion of *bad*."""

    def answer(batch: list[str]) -> None:
        if set(bad) & set(batch):
            raise kind("bad event", code="100")

    return answer


async def run_ready_tasks() -> None:
    """Let all tasks run until each waits; for worlds in memory."""
    for _ in range(100):
        await checkpoint()


class Clock:
    """Unix seconds that pass only when a test sets `now`."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Changes:
    """Lets tests wait for a condition instead of a time."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def until(self, fact: Callable[[], object], seconds: float = 5.0) -> None:
        with anyio.fail_after(seconds):
            while not fact():
                self._event = anyio.Event()
                await self._event.wait()


class FakeSink:
    """Delivers everything, unless `answer` returns or raises something else.

    *answer* is called with the event ids of a batch; it raises a signal, or returns the outcomes,
    where None stands for "all delivered". It may be a coroutine function.

    Attributes:
        delivered: event ids of all batches for which `answer` returned None, in order.
    """

    def __init__(
        self,
        name: str = "anytrack",
        answer: Answer | None = None,
        *,
        batch: int = 100,
        concurrency: int = 1,
        rate: float | None = None,
    ) -> None:
        self.name = name
        self.limits = SinkLimits(batch=batch, concurrency=concurrency, rate=rate)
        self.answer = answer or (lambda _: None)
        self.calls: list[list[str]] = []
        self.delivered: list[str] = []
        self.busy = 0
        self.peak = 0
        self.closed = False
        self.changed: Callable[[], None] = lambda: None

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        self.calls.append(ids(batch))
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        self.changed()
        try:
            outcomes = self.answer(ids(batch))
            if inspect.isawaitable(outcomes):
                outcomes = await outcomes
            if outcomes is None:
                self.delivered += ids(batch)
                return [DELIVERED] * len(batch)
            return outcomes
        finally:
            self.busy -= 1
            self.changed()

    async def aclose(self) -> None:
        self.closed = True


class Service:
    """An `answer` of a service that can fail: `trouble` is raised while it is set."""

    def __init__(self, trouble: Exception | None = None, poison: Sequence[str] = ()) -> None:
        self.trouble = trouble
        self.poison = set(poison)

    def __call__(self, batch: list[str]) -> None:
        if self.trouble is not None:
            raise self.trouble
        if self.poison & set(batch):
            raise Unavailable("502 bad gateway")


class BlockingAnswer:
    """An `answer` that lets batches wait until it is opened."""

    def __init__(self) -> None:
        self.gate = anyio.Event()

    async def __call__(self, _: list[str]) -> None:
        await self.gate.wait()

    def open(self) -> None:
        self.gate.set()

    def close(self) -> None:
        self.gate = anyio.Event()


async def attempt_with(
    answer: Answer | None,
    count: int = 4,
    *,
    timeout: float = 5.0,
    split_failures: bool = False,
    probe_index: int | None = None,
    may_send_next: Callable[[], Awaitable[bool]] | None = None,
) -> tuple[Attempt, FakeSink]:
    """Make an attempt with *count* conversions, as a lane does; return it and its sink."""
    sink = FakeSink("meta", answer)
    attempt = Attempt(
        sink,
        sales(count),
        timeout=timeout,
        split_failures=split_failures,
        probe_index=probe_index,
    )
    while await attempt.send_next() and (may_send_next is None or await may_send_next()):
        pass
    return attempt, sink


class World:
    """A dispatcher, its fakes, and every event that it sent."""

    def __init__(
        self,
        *sinks: FakeSink,
        outbox: Outbox | None = None,
        clock: Callable[[], float] | None = None,
        settings: DeliverySettings = QUICK,
        from_start: Sequence[str] = (),
        **changes: Any,
    ) -> None:
        clocks = {"clock": clock} if clock else {}
        self.sinks = sinks or (FakeSink(),)
        self.outbox = outbox or MemoryOutbox(**clocks)
        self.events: list[Any] = []
        self.undelivered: UndeliveredError | None = None
        self.changed = Changes()
        for sink in self.sinks:
            sink.changed = self.changed
        self.dispatcher = Dispatcher(
            self.outbox,
            self.sinks,
            attrs.evolve(settings, **changes),
            notify=self._notify,
            from_start=from_start,
            **clocks,
        )

    def _notify(self, event: Any) -> None:
        self.events.append(event)
        self.changed()

    def events_of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, fact: Callable[[], object]) -> None:
        await self.changed.until(fact)

    @asynccontextmanager
    async def open(self, *, leaves_undelivered: bool | None = False) -> AsyncGenerator[World]:
        """Run the dispatcher.

        Args:
            leaves_undelivered: whether closing must raise `UndeliveredError`; None if either is
                right.
        """
        try:
            with anyio.fail_after(20):
                async with self.dispatcher:
                    yield self
        except UndeliveredError as exc:
            self.undelivered = exc
        assert leaves_undelivered in (None, self.undelivered is not None)

    @asynccontextmanager
    async def raises(self, exc: BaseException) -> AsyncGenerator[World]:
        """Run the dispatcher, raise *exc* at the end of its block, and check that it comes out."""
        with pytest.raises(type(exc)) as caught:
            async with self.dispatcher:
                yield self
                raise exc
        assert caught.value is exc

    async def submit(self, *conversions: Conversion, to: Sequence[str] | None = None) -> Any:
        """Submit as the client does: one conversion without a batch."""
        if len(conversions) == 1:
            return [await self.dispatcher.submit_one(conversions[0], to)]
        return await self.dispatcher.submit(conversions, to)

    async def deliver(self, *conversions: Conversion) -> list[Report]:
        """Submit, and wait for the reports."""
        return [await delivery for delivery in await self.dispatcher.submit(conversions)]

    async def dead(self) -> dict[str, str]:
        """Return event id → the reason of its dead letter."""
        letters = await self.outbox.dead_letters(limit=10_000)
        return {letter.conversion.event_id: letter.error for letter in letters}


def statuses(delivery: Delivery | Report) -> dict[str, str]:
    report = delivery.report if isinstance(delivery, Delivery) else delivery
    return {name: str(outcome.status) for name, outcome in report.outcomes.items()}


class WatchedFlow(FlowControl):
    """A flow control with its clock and events."""

    def __init__(self, rate=None, spacing=None, linger=0.0):
        self.clock = Clock()
        self.events = []
        super().__init__(
            "meta",
            probe=Retry(base=1.0, cap=8.0),
            hint_cap=100.0,
            hold_probe=300.0,
            rate=rate,
            linger=linger,
            spacing=spacing,
            clock=self.clock,
            notify=self.events.append,
        )

    @property
    def sends_in(self):
        return max(0.0, self.may_send_at - self.clock())

    def kinds(self):
        return [type(event) for event in self.events]

    def fail_often(self):
        for _ in range(3):
            self.record_failure("503")
