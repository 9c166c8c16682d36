"""`track_many`: any iterable of conversions in, their reports out as they finish."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from itertools import islice
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.room import Patience
from anytrack_async.descriptions import shown
from anytrack_async.destinations.sink import checked_names
from anytrack_async.errors import (
    ClosedError,
    ConfigurationError,
    ConflictError,
    DeliveryError,
    UnsendableError,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.checks import text_size

_IN_FLIGHT_LIMIT = 2**63
_MAX_SLICE = 500
"""Conversions submitted in one step: with so many, a commit costs next to nothing for each."""

_SLICES_IN_FLIGHT = 4
"""Slices that fit into `in_flight`, so that one can be submitted while others are delivered."""

_SLICE_TEXT = 2 * 2**20
"""Characters of conversions from which on a slice ends earlier."""

_MAX_READ_SECONDS = 0.05
"""Seconds after which the reading thread hands over the items of a slow source."""

Source: TypeAlias = Iterable[Conversion] | AsyncIterable[Conversion]
"""Any iterable of conversions, sync or async."""

Submit: TypeAlias = Callable[[Sequence[Conversion]], Awaitable[None]]
"""Called with one slice of the source after the other."""


def track_many(
    dispatcher: Dispatcher,
    source: Source,
    *,
    to: Sequence[str] | None,
    at: Sequence[str] | None,
    in_flight: int,
) -> AsyncGenerator[Report]:
    """Submit everything in *source* and yield a report for each, in the order they finish.

    Args:
        dispatcher: accepts them.
        source: sync or async iterable of conversions; read only as fast as reports are taken.
        to: names of destinations; default: all.
        at: destinations to wait for before a report is yielded; default: all. Empty: none, a
            report is yielded once its conversion is accepted.
        in_flight: how many may be accepted and not yet reported.

    Raises:
        ConfigurationError: a destination has no sink, or *in_flight* is less than 1. At once.
        ClosedError: the client is not open, or closed before *source* ended.
        UndeliveredError: the client closed before all were delivered.
        ConflictError: a conversion contradicts the first one with its event id, and
            ``on_conflict="raise"``; after the reports of everything that was read.
        Exception: the exception that *source* raised, after the reports of all that came before.
    """
    number: Any = in_flight
    if not isinstance(number, int) or not 1 <= number < _IN_FLIGHT_LIMIT:
        raise ConfigurationError(
            f"in_flight must be at least 1, and less than 2^63, got {shown(in_flight)}"
        )
    names = dispatcher.resolve_names(to)
    # Waiting for a destination that the conversions are not addressed to would never end.
    awaited = None if at is None else checked_names("at", at, names)
    addressed = None if to is None else names
    return _reports(_Stream(dispatcher, addressed, awaited, in_flight), dispatcher, source)


async def _reports(
    stream: _Stream, dispatcher: Dispatcher, source: Source
) -> AsyncGenerator[Report]:
    dispatcher.check_open()
    pump = dispatcher.start_task(lambda: stream.pump(source))
    try:
        async for report in stream.reports():
            yield report
    finally:
        pump.cancel()


class _Stream:
    """The conversions in flight between `pump`, which submits, and `reports`, which yields.

    With in_flight=10,000 the pump submits slices of 500 as long as at most 9,500 conversions are
    accepted and not reported. So the pump stops when the consumer stops taking reports.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        to: Sequence[str] | None,
        awaited: tuple[str, ...] | None,
        in_flight: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._to = to
        self._awaited = awaited
        self._in_flight = in_flight
        # Delivery → how often its event id was in the source: each time gets a report.
        self._open: dict[Delivery, int] = {}
        self._unreported = 0
        self._next_slice = 0
        self._finished: deque[Report] = deque()
        self._failure: Exception | None = None
        self._ended = False
        self._changed = anyio.Event()

    # In

    async def pump(self, source: Source) -> None:
        """Submit everything in *source*."""
        try:
            part = max(1, self._in_flight // _SLICES_IN_FLIGHT)
            size = min(_MAX_SLICE, part, self._dispatcher.outbox.capacity)
            await feed(source, self._submit, size)
            self._ended = True
        except Exception as exc:
            self._failure, self._ended = exc, True
        finally:
            if not self._ended:
                self._failure = ClosedError(
                    "the client closed before the source of track_many ended; "
                    "conversions that were not reported yet may not have been accepted"
                )
                self._ended = True
            self._changed.set()

    async def _submit(self, conversions: Sequence[Conversion]) -> None:
        self._next_slice = len(conversions)
        while self._unreported + self._next_slice > self._in_flight:
            await self._wait_for_change()
        self._unreported += len(conversions)
        try:
            # Reports wait for deliveries anyway, and a slow service must not end a back-fill.
            deliveries = await self._dispatcher.submit(conversions, self._to, Patience.UNLIMITED)
        except ConflictError as exc:
            self._follow(exc.deliveries)
            raise
        except UnsendableError:
            self._unreported -= len(conversions)  # none was accepted
            raise
        self._follow(deliveries)

    def _follow(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self._open[delivery] = self._open.get(delivery, 0) + 1
            delivery.watch(self._on_change)
            self._on_change(delivery)
        self._changed.set()

    # Out

    def _on_change(self, delivery: Delivery) -> None:
        if delivery.failure is not None:
            self._failure = self._failure or delivery.failure
        elif not delivery.done(self._awaited):
            return
        delivery.unwatch(self._on_change)
        times = self._open.pop(delivery, 0)
        if delivery.failure is None:
            self._finished.extend([delivery.report] * times)
        self._changed.set()

    async def reports(self) -> AsyncGenerator[Report]:
        """Yield every report, then raise the failure, if there is one."""
        while True:
            while self._finished:
                self._unreported -= 1
                if self._unreported + self._next_slice == self._in_flight:
                    self._changed.set()  # this report made the space that the pump waits for
                yield self._finished.popleft()
            if self._ended and not self._open:
                break
            await self._wait_for_change()
        if self._failure is not None:
            raise self._failure

    async def _wait_for_change(self) -> None:
        if self._changed.is_set():
            self._changed = anyio.Event()
        await self._changed.wait()


# Reading the source


async def feed(source: Source, submit: Submit, size: int) -> None:
    """Pass everything in *source* to *submit*, in order, at most *size* at a time.

    A list or tuple is read where it is. Any other sync iterable may read a file or a database, so
    it is advanced in a worker thread: *size* items at a time, or those of 50 ms. Items of an async
    iterable are passed on as soon as *submit* has returned: an item never waits for the next one.

    A slice ends early where conversions are large.

    Raises:
        UnsendableError: an item is too large, or was read back and cannot be sent; everything
            before it was passed on.
        TypeError: an item is not a `Conversion`; everything before it was passed on.
        Exception: the exception that *source* raised; everything before it was passed on.
    """
    if isinstance(source, AsyncIterable):
        await _feed_async(source, submit, size)
    elif isinstance(source, list | tuple):
        items = iter(source)
        while batch := [*_slice(items, size)]:
            await _pass_on(batch, submit)
    else:
        await _feed_sync(source, submit, size)


async def _feed_sync(source: Iterable[Any], submit: Submit, size: int) -> None:
    items, failure, ended = iter(source), None, False
    while not ended:
        # Abandoned: cancelling does not wait for a source that is stuck.
        batch, failure, ended = await to_thread.run_sync(
            _read_batch, items, size, abandon_on_cancel=True
        )
        await _pass_on(batch, submit)
    if failure is not None:
        raise failure


def _read_batch(items: Iterator[Any], size: int) -> tuple[list[Any], Exception | None, bool]:
    """Return a batch, the source's exception and whether the source has ended."""
    batch: list[Any] = []
    deadline, space = time.monotonic() + _MAX_READ_SECONDS, _SLICE_TEXT
    try:
        for item in items:
            batch.append(item)
            space -= _size(item)
            if len(batch) == size or space < 0 or time.monotonic() > deadline:
                return batch, None, False
    except Exception as exc:
        return batch, exc, True  # together with the items that came before it
    return batch, None, True


def _slice(items: Iterator[Any], size: int) -> Iterator[Any]:
    """Yield up to *size* items, or as many as have `_SLICE_TEXT` characters."""
    space = _SLICE_TEXT
    for item in islice(items, size):
        yield item
        space -= _size(item)
        if space < 0:
            return


def _size(item: object) -> int:
    return text_size(item) if type(item) is Conversion else 0


async def _pass_on(batch: Sequence[Any], submit: Submit) -> None:
    failure: Exception | None = None
    for item in batch:
        if type(item) is not Conversion:
            batch, failure = _sendable(batch)
            break
    if batch:
        try:
            await submit(batch)
        except UnsendableError:
            if len(batch) == 1:
                raise
            for item in batch:  # up to the one that is too large
                await submit([item])
    if failure is not None:
        raise failure


def _sendable(batch: Sequence[Any]) -> tuple[Sequence[Conversion], Exception | None]:
    """Return *batch*, up to the first item that cannot be sent, and the reason."""
    # Imported here: most sources have no conversions that were read back.
    from anytrack_async.models.answers import to_sendable

    conversions: list[Conversion] = []
    for item in batch:
        try:
            conversions.append(to_sendable(item))
        except TypeError as exc:  # an `UnsendableError` too
            return conversions, exc
    return conversions, None


async def _feed_async(source: AsyncIterable[Any], submit: Submit, size: int) -> None:
    reader = _Reader(source, size)
    async with anyio.create_task_group() as tg:
        tg.start_soon(reader.read)
        try:
            while batch := await reader.batch():
                await _pass_on(batch, submit)
        except Exception as exc:
            reader.failure = exc
            tg.cancel_scope.cancel()
    if reader.failure is not None:
        raise reader.failure  # outside the task group, which would wrap it in a group


class _Reader:
    """Reads ahead in an async iterable, by at most *size* items."""

    def __init__(self, source: AsyncIterable[Any], size: int) -> None:
        self.failure: Exception | None = None
        self._source = source
        self._size = size
        self._items: list[Any] = []
        self._space = _SLICE_TEXT
        self._items_available = anyio.Event()
        self._space_available = anyio.Event()
        self._ended = False

    async def read(self) -> None:
        """Read until the source ends; its exception becomes `failure`."""
        self.failure = DeliveryError("the source of track_many was cancelled before its end")
        try:
            await self._read()
            self.failure = None
        except Exception as exc:
            self.failure = exc
        finally:
            self._ended = True
            self._items_available.set()

    async def _read(self) -> None:
        async for item in self._source:
            self._items.append(item)
            self._items_available.set()
            self._space -= _size(item)
            if len(self._items) >= self._size or self._space < 0:
                self._space_available = anyio.Event()
                await self._space_available.wait()

    async def batch(self) -> list[Any]:
        """Return the items read so far, at least one; an empty list at the end of the source."""
        if not self._items and not self._ended:
            await self._items_available.wait()
        items, self._items, self._space = self._items, [], _SLICE_TEXT
        self._items_available = anyio.Event()
        self._space_available.set()
        return items
