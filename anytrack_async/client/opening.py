"""`Opening`: how a client is opened and closed, by ``async with`` or by `start` and `aclose`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from weakref import WeakSet

from anytrack_async.client.subscription import Subscription, end_all
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.lifecycle import Supervisor
from anytrack_async.delivery.shutdown import run_with_deadline
from anytrack_async.observers import Observers
from anytrack_async.telemetry.opentelemetry import Telemetry
from anytrack_async.transport.session import Session


class Opening:
    """The part of the client that opens and closes it."""

    _dispatcher: Dispatcher
    _observers: Observers
    _session: Session
    _supervisor: Supervisor
    _telemetry: Telemetry | bool | None
    _closing: bool
    _subscriptions: WeakSet[Subscription]

    @property
    def is_open(self) -> bool:
        """Whether the client is open: from the end of `start` until `aclose` begins."""
        return self._supervisor.is_open and not self._closing

    async def start(self) -> None:
        """Open the client, without ``async with``; call `aclose` when you are done.

        Any task may call `start`, and another task `aclose`, as start-up and shutdown hooks and
        fixtures do. Deliveries continue after the calling task has ended or was cancelled. Calling
        `start` again changes nothing, and calls at the same time all return when the client is
        open. If it raises, or is cancelled, nothing stays open. If the event loop ends before
        `aclose`, the deliveries end too: their ids are logged, with a `ResourceWarning`.

        Raises:
            OutboxError: the outbox cannot be opened, or another client has this object open.
            WrongEventLoopError: see the class.
            ClosedError: `aclose` was called before the client was open.
        """
        await self._supervisor.start()

    async def aclose(self) -> None:
        """Deliver the remaining conversions within `DeliverySettings.drain` seconds, then close.

        Any task may call `aclose`. Calling it again changes nothing, and calls at the same time all
        return when the client is closed. If the calling task is cancelled, the client still closes.
        In a forked child, `aclose` does nothing: the client belongs to the parent.

        Raises:
            UndeliveredError: undelivered conversions are lost with an outbox in memory.
            WrongEventLoopError: the client is open in another event loop.
        """
        await self._supervisor.stop()
        # Reads may have opened connections although the client was never opened.
        if not self._supervisor.is_open and not self._dispatcher.guard.is_inherited:
            await self._close_session()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        was_open = self._supervisor.is_open
        try:
            await self.aclose()
        except Exception:
            if exc is None:
                raise
        finally:
            if exc is not None and was_open and (undelivered := self._dispatcher.undelivered):
                exc.add_note(str(undelivered))

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[None]:
        opened = False
        try:
            async with self._instrumented(), self._dispatcher:
                opened = True
                self._session.closed = self._closing = False
                try:
                    yield
                finally:
                    # Pushes end here, because the dispatcher closes the sinks. Reads still work
                    # while it delivers the remaining conversions, for up to `drain` seconds.
                    self._closing = True
        finally:
            if opened:
                end_all(self._subscriptions)
                await self._close_session()

    @asynccontextmanager
    async def _instrumented(self) -> AsyncGenerator[None]:
        """Trace and count while the client is open, if the application uses OpenTelemetry."""
        telemetry = self._telemetry
        if not isinstance(telemetry, Telemetry):
            telemetry = None if telemetry is False else Telemetry.from_globals()
        self._dispatcher.telemetry = telemetry
        if telemetry is None:
            yield
            return
        self._session.set_telemetry(telemetry.http)
        detach = self._observers.attach(telemetry)
        try:
            yield
        finally:
            detach()
            self._session.set_telemetry(None)
            self._dispatcher.telemetry = None

    async def _close_session(self) -> None:
        if not self._session.closed:
            self._session.closed = True
            self._observers.flush(closing=True)
            await run_with_deadline("closing the connections to AnyTrack", self._session.aclose)
