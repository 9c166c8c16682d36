"""`AnyTrack`: the client for programs without an event loop: WSGI applications, Celery, scripts.

It has the methods of `AnyTrackClient` under the same names. Each one is made from the asynchronous
one, which runs in an event loop in a thread of its own:

    thread of a request                     thread "anytrack"
    anytrack.submit(…)       ──────────▶    client.submit(…)
    waits                    ◀──────────    lanes go on in the background

Several threads may use one object. A process that is forked needs an object of its own.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, overload

import anyio

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.submitting import submit_within_sync
from anytrack_async.client.thread import BlockingIterator, EventLoopThread
from anytrack_async.client.tracking import to_seconds
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.errors import ClosedError, WrongEventLoopError
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Report
from anytrack_async.outbox.transactions import Executes, HasCursors

P = ParamSpec("P")
T = TypeVar("T")


class SyncDelivery:
    """One accepted conversion on its way; see `Delivery`."""

    def __init__(self, owner: AnyTrack, delivery: Delivery) -> None:
        self._owner, self._delivery = owner, delivery

    def __repr__(self) -> str:
        return f"<SyncDelivery of {self.event_id!r}>"

    @property
    def event_id(self) -> str:
        """The conversion's event id."""
        return self._delivery.event_id

    @property
    def contradicts(self) -> Contradiction | None:
        """How the conversion contradicts the first one with its event id, if it does."""
        return self._delivery.contradicts

    def result(self, timeout: float | None = None) -> Report:
        """Wait for the outcomes at all destinations.

        Args:
            timeout: seconds; None to wait as long as it takes.

        Raises:
            TimeoutError: they are not all final in time. The conversion is delivered nevertheless.
            UndeliveredError: the client closed before that.
        """
        seconds = to_seconds(timeout)

        async def wait() -> Report:
            with anyio.fail_after(seconds):
                return await self._delivery

        return self._owner.run(wait)

    def at(self, destination: str, timeout: float | None = None) -> Outcome:
        """Wait for the outcome at *destination*; see `result`."""
        seconds = to_seconds(timeout)

        async def wait() -> Outcome:
            with anyio.fail_after(seconds):
                return await self._delivery.at(destination)

        return self._owner.run(wait)


def _blocking(
    method: Callable[Concatenate[AnyTrackClient, P], Awaitable[T]],
) -> Callable[Concatenate[AnyTrack, P], T]:
    """Return *method* of the client as a method that waits."""

    def call(self: AnyTrack, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(lambda: method(self.client, *args, **kwargs))

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


def _iterating(
    method: Callable[Concatenate[AnyTrackClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[AnyTrack, P], Iterator[T]]:
    """Return *method* of the client, an asynchronous generator, as one that waits for each item."""

    def call(self: AnyTrack, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return BlockingIterator(self.run, lambda: method(self.client, *args, **kwargs))

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


def _calling(
    method: Callable[Concatenate[AnyTrackClient, P], T],
) -> Callable[Concatenate[AnyTrack, P], T]:
    """Return *method* of the client, which does not wait, as one that any thread may call."""

    def call(self: AnyTrack, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def in_loop() -> T:
            return method(self.client, *args, **kwargs)

        return self.run(in_loop)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


class AnyTrack:
    """`AnyTrackClient` for code without an event loop.

        with AnyTrack.from_env(outbox="outbox.db") as anytrack:
            anytrack.submit(Conversion.sale(revenue="49.90", order_id="1003"))

    Open it with a ``with`` block, or with `start` and `close`. A process that ends without closing
    it delivers the backlog within `DeliverySettings.drain` seconds, except with Python 3.12.0 and
    3.12.1, which start no threads any more by then. A process that is forked while it is open, as
    the workers of Celery and gunicorn are, has to create its own: in ``worker_process_init``, or in
    gunicorn's ``post_fork``.

    Args:
        client: the client to run, not open; default: one from the arguments.
        arguments: those of `AnyTrackClient`.
        keywords: those of `AnyTrackClient`.

    Attributes:
        client: the asynchronous client. It belongs to the thread of this object.

    Raises:
        ClosedError: from each method, if it is not open.
        WrongEventLoopError: from each method, in a forked process, and in the event loop's thread.
    """

    def __init__(
        self, *arguments: Any, client: AnyTrackClient | None = None, **keywords: Any
    ) -> None:
        self.client = client or AnyTrackClient(*arguments, **keywords)
        self._loop: EventLoopThread | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return an object that is configured by environment variables.

        Args:
            environ: see `AnyTrackClient.from_env`.
            options: see `AnyTrackClient.from_env`.
        """
        return cls(client=AnyTrackClient.from_env(environ, **options))

    def __repr__(self) -> str:
        return repr(self.client).replace("AnyTrackClient", "AnyTrack")

    # Opening and closing

    @property
    def is_open(self) -> bool:
        """Whether it is open in this process."""
        loop = self._loop
        return loop is not None and loop.pid == os.getpid()

    def start(self) -> None:
        """Open the client in a thread of its own; does nothing if it is open.

        Raises:
            OutboxError: the outbox cannot be opened.
        """
        with self._lock:
            if self._loop is not None and self._loop.pid == os.getpid():
                return
            loop = EventLoopThread()
            try:
                loop.portal.call(self.client.start)
            except BaseException:
                loop.stop()
                raise
            self._loop = loop
            atexit.register(self.close)

    def close(self) -> None:
        """Deliver the remaining conversions within `DeliverySettings.drain` seconds, then close.

        Does nothing if it is not open, and nothing in a forked process.

        Raises:
            UndeliveredError: undelivered conversions are lost with an outbox in memory.
        """
        with self._lock:
            loop = self._loop
            if loop is None or loop.pid != os.getpid():
                return
            self._loop = None
        atexit.unregister(self.close)
        try:
            loop.portal.call(self.client.aclose)
        finally:
            loop.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception:
            if exc is None:
                raise

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Return the result of *function*, which runs in the event loop of the client.

        For functions without a method here, such as a back-fill: ``anytrack.run(lambda:
        backfill(anytrack.client, "orders.csv"))``.

        Raises:
            ClosedError: it is not open.
            WrongEventLoopError: this process was forked after it was opened, or the caller is in
                its event loop, where waiting would stop the deliveries.
        """
        loop = self._loop
        if loop is None:
            raise ClosedError(
                "nothing was done: AnyTrack is not open; use it in a `with` block, or between "
                "`anytrack.start()` and `anytrack.close()`"
            )
        if loop.pid != os.getpid():
            raise WrongEventLoopError(
                "AnyTrack was opened before this process was forked: create one in each process, "
                "after the fork: in Celery's worker_process_init, or in gunicorn's post_fork"
            )
        if loop.is_current:
            raise WrongEventLoopError(
                "AnyTrack was called in its own event loop, where waiting would stop the "
                "deliveries: use the AnyTrackClient there, `anytrack.client`"
            )
        return loop.portal.call(function)

    # Tracking

    @overload
    def submit(
        self, conversion: Conversion, *, to: Sequence[str] | None = None
    ) -> SyncDelivery: ...
    @overload
    def submit(
        self,
        conversion: Conversion,
        *,
        to: Sequence[str] | None = None,
        within: Executes | HasCursors,
    ) -> str: ...
    def submit(
        self,
        conversion: Conversion,
        *,
        to: Sequence[str] | None = None,
        within: Executes | HasCursors | None = None,
    ) -> SyncDelivery | str:
        """Store *conversion* in the outbox and return its delivery; see `AnyTrackClient.submit`.

        With *within*, it is part of a transaction of the caller's, in the thread of the caller, and
        its event id is returned. *within* is SQLAlchemy's `Session` or `Connection`, psycopg's
        `Connection`, or ``django.db.connection``. It is accepted also if a destination is full.
        """
        if within is not None:
            (event_id,) = self._submit_within(within, (conversion,), to)
            return event_id
        return SyncDelivery(self, self.run(lambda: self.client.submit(conversion, to=to)))

    @overload
    def submit_many(
        self, conversions: Iterable[Conversion], *, to: Sequence[str] | None = None
    ) -> Sequence[SyncDelivery]: ...
    @overload
    def submit_many(
        self,
        conversions: Iterable[Conversion],
        *,
        to: Sequence[str] | None = None,
        within: Executes | HasCursors,
    ) -> Sequence[str]: ...
    def submit_many(
        self,
        conversions: Iterable[Conversion],
        *,
        to: Sequence[str] | None = None,
        within: Executes | HasCursors | None = None,
    ) -> Sequence[SyncDelivery] | Sequence[str]:
        """Store *conversions*, all or none; see `AnyTrackClient.submit_many` and `submit`."""
        if within is not None:
            return self._submit_within(within, conversions, to)
        deliveries = self.run(lambda: self.client.submit_many(conversions, to=to))
        return _Deliveries(self, deliveries)

    def _submit_within(
        self,
        within: Executes | HasCursors,
        conversions: Iterable[Conversion],
        to: Sequence[str] | None,
    ) -> Sequence[str]:
        def in_loop(function: Callable[[], Any]) -> Any:
            async def call() -> Any:
                return function()

            return self.run(call)

        return submit_within_sync(self.client, within, conversions, to, in_loop)

    def delivery(self, event_id: str) -> SyncDelivery:
        """Return the delivery of an earlier conversion; see `AnyTrackClient.delivery`."""
        return SyncDelivery(self, self.run(lambda: self.client.delivery(event_id)))

    accept_many = _blocking(AnyTrackClient.accept_many)
    track_many = _iterating(AnyTrackClient.track_many)
    track_conversion = _blocking(AnyTrackClient.track_conversion)
    track_sale = _blocking(AnyTrackClient.track_sale)
    track_lead = _blocking(AnyTrackClient.track_lead)
    track_signup = _blocking(AnyTrackClient.track_signup)
    sync_with_meta_capi = _blocking(AnyTrackClient.sync_with_meta_capi)
    sync_with_hubspot = _blocking(AnyTrackClient.sync_with_hubspot)

    # Reading

    get_conversions = _blocking(AnyTrackClient.get_conversions)
    stream_conversions = _iterating(AnyTrackClient.stream_conversions)
    get_conversions_by_source = _blocking(AnyTrackClient.get_conversions_by_source)
    get_conversion_details = _blocking(AnyTrackClient.get_conversion_details)
    calculate_attribution = _blocking(AnyTrackClient.calculate_attribution)
    get_touchpoints = _blocking(AnyTrackClient.get_touchpoints)
    get_affiliate_performance = _blocking(AnyTrackClient.get_affiliate_performance)
    get_top_affiliates = _blocking(AnyTrackClient.get_top_affiliates)
    get_daily_report = _blocking(AnyTrackClient.get_daily_report)
    export_conversions_csv = _blocking(AnyTrackClient.export_conversions_csv)
    export_conversions = _blocking(AnyTrackClient.export_conversions)

    # Operating

    stats = _blocking(AnyTrackClient.stats)
    preview = _calling(AnyTrackClient.preview)
    pause = _calling(AnyTrackClient.pause)
    resume = _calling(AnyTrackClient.resume)
    use_api_key = _calling(AnyTrackClient.use_api_key)
    use_token = _calling(AnyTrackClient.use_token)
    limit_drain = _calling(AnyTrackClient.limit_drain)
    dead_letters = _iterating(AnyTrackClient.dead_letters)
    replay = _blocking(AnyTrackClient.replay)
    discard = _blocking(AnyTrackClient.discard)
    edit = _blocking(AnyTrackClient.edit)
    forget_customer = _blocking(AnyTrackClient.forget_customer)


class _Deliveries(Sequence[SyncDelivery]):
    """The deliveries of `submit_many`, made when they are taken out."""

    def __init__(self, owner: AnyTrack, deliveries: Sequence[Delivery]) -> None:
        self._owner, self._deliveries = owner, deliveries

    def __len__(self) -> int:
        return len(self._deliveries)

    @overload
    def __getitem__(self, index: int) -> SyncDelivery: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SyncDelivery]: ...
    def __getitem__(self, index: int | slice) -> SyncDelivery | Sequence[SyncDelivery]:
        if isinstance(index, slice):
            return _Deliveries(self._owner, self._deliveries[index])
        return SyncDelivery(self._owner, self._deliveries[index])
