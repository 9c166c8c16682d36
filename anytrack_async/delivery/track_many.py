"""`track_many`: many conversions in, their reports out as they finish."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence

import anyio

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.sources import Source, feed
from anytrack_async.errors import ClosedError, ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Report, Status

_SLICE = 500
"""Conversions written down in one step: commits of this size cost next to nothing each."""

_PARTS = 4


async def track_many(
    dispatcher: Dispatcher,
    source: Source,
    *,
    to: Sequence[str] | None,
    at: Sequence[str] | None,
    in_flight: int,
) -> AsyncGenerator[Report]:
    """Submit everything in *source* and yield a report for each, in the order they finish.

    Args:
        dispatcher: takes them.
        source: sync or async iterable of conversions; read only as fast as reports are taken.
        to: names of destinations; default: all.
        at: destinations to wait for before a report is yielded; default: all. Empty: none, a
            report is yielded once its conversion is written down.
        in_flight: how many may be accepted and not yet reported.

    Raises:
        ConfigurationError: a destination has no sink, or *in_flight* is less than 1.
        ClosedError: the client closed before *source* ended.
        UndeliveredError: the client closed before all was delivered.
        Exception: what *source* raised, after the reports of all it gave before.
    """
    dispatcher.check_open()
    names = dispatcher.names(to)
    if at and not set(at) <= set(names):
        raise ConfigurationError(f"at must be among {', '.join(names)}, got {', '.join(at)}")
    if in_flight < 1:
        raise ConfigurationError(f"in_flight must be at least 1, got {in_flight}")
    stream = _Stream(dispatcher, names, to, None if at is None else tuple(at), in_flight)
    pump = dispatcher.help(lambda: stream.pump(source))
    try:
        async for report in stream.reports():
            yield report
    finally:
        pump.cancel()


class _Stream:
    def __init__(
        self,
        dispatcher: Dispatcher,
        names: tuple[str, ...],
        to: Sequence[str] | None,
        at: tuple[str, ...] | None,
        in_flight: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._names = names
        self._to = to
        self._at = at
        self._in_flight = in_flight
        self._open: dict[Delivery, int] = {}
        self._pending = 0
        self._wanted = 0
        self._finished: deque[Report] = deque()
        self._failure: Exception | None = None
        self._ended = False
        self._changed = anyio.Event()

    # In

    async def pump(self, source: Source) -> None:
        try:
            # A part of what may be in flight, so that it never has to empty to be filled.
            part = max(1, self._in_flight // _PARTS)
            size = min(_SLICE, part, self._dispatcher.outbox.capacity)
            await feed(source, self._take, size)
            self._ended = True
        except Exception as exc:
            self._failure, self._ended = exc, True
        finally:
            if not self._ended:
                self._failure = ClosedError(
                    "the client closed before the source of track_many ended; "
                    "what was not reported yet may not have been accepted"
                )
                self._ended = True
            self._changed.set()

    async def _take(self, conversions: Sequence[Conversion]) -> None:
        self._wanted = len(conversions)
        while self._pending + self._wanted > self._in_flight:
            await self._change()
        self._pending += len(conversions)
        handles = await self._dispatcher.submit(conversions, self._to)
        for conversion, handle in zip(conversions, handles, strict=True):
            if handle is None:
                self._finished.append(self._conflict(conversion))
            else:
                self._open[handle] = self._open.get(handle, 0) + 1
                handle.watch(self._look)
                self._look(handle)
        self._changed.set()

    def _conflict(self, conversion: Conversion) -> Report:
        error = "its event id was accepted before with other content, which stands"
        return Report(
            event_id=conversion.event_id,
            outcomes={
                name: Outcome(status=Status.CONFLICT, destination=name, attempts=0, error=error)
                for name in self._names
            },
        )

    # Out

    def _look(self, handle: Delivery) -> None:
        if handle.failure is not None:
            self._failure = self._failure or handle.failure
        elif not handle.done(self._at):
            return
        handle.unwatch(self._look)
        times = self._open.pop(handle, 0)
        if handle.failure is None:
            self._finished.extend([handle.report] * times)
        self._changed.set()

    async def reports(self) -> AsyncGenerator[Report]:
        while True:
            while self._finished:
                self._pending -= 1
                if self._pending + self._wanted == self._in_flight:
                    self._changed.set()  # just now enough for the pump
                yield self._finished.popleft()
            if self._ended and not self._open:
                break
            await self._change()
        if self._failure is not None:
            raise self._failure

    async def _change(self) -> None:
        if self._changed.is_set():
            self._changed = anyio.Event()
        await self._changed.wait()
