"""`AnyTrackClient`: the one object an application holds."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import attrs
from anyio import AsyncContextManagerMixin

from anytrack_async.client.config import (
    check_patience,
    checked_sinks,
    delivery_settings,
    listed,
    make_outbox,
    outbox_from_env,
    several,
    sinks_from_env,
)
from anytrack_async.client.reads import Reads
from anytrack_async.client.stats import Counters, DestinationStats, Stats
from anytrack_async.client.tracking import Pushing, Tracking
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.shutdown import run_with_deadline
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings, anytrack_session
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.destinations.sink import Sink, SupportsObserver
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import LoggingObserver, Observer, Observers
from anytrack_async.outbox.base import Outbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Transport


class AnyTrackClient(Tracking, Pushing, Reads, AsyncContextManagerMixin):
    """Tracks conversions and reads them back.

    Use it as ``async with AnyTrackClient(…) as client``, one for the whole application. Whatever it
    accepted goes to AnyTrack and to each sink, at the pace of each, until leaving the block has
    delivered it, kept it in a durable outbox, or named it in an error.

    Args:
        api_key: AnyTrack's API key.
        account_id: AnyTrack's account id.
        base_url: where AnyTrack's REST interface is.
        sinks: destinations besides AnyTrack: `MetaSink`, `HubSpotSink`, yours.
        outbox: where accepted conversions wait: an `Outbox`, or a path for a `SQLiteOutbox`;
            default: in memory.
        delivery: retries, drain, back-pressure.
        http: time-outs, connections, retries and engine for AnyTrack.
        observers: are told what happens, besides the logger ``anytrack_async``.
        log: whether the logging observer is on.
        from_start: destinations new to the outbox that get what was accepted before them too.
        transport: takes the place of the connections to AnyTrack, e.g. `httpx.MockTransport`; a
            sink takes its own, which may be the same one. Closed with the client.

    Attributes:
        conversions: conversions that AnyTrack knows.
        attribution: how they came about.
        affiliates: who brings them.
        reports: totals by day.

    Raises:
        ConfigurationError: a setting is missing or wrong; the message names it.
        UndeliveredError: on leaving the block, if only memory held what is undelivered.
    """

    def __init__(
        self,
        api_key: str | None = None,
        account_id: str | None = None,
        *,
        base_url: str | None = None,
        sinks: Sequence[Sink] = (),
        outbox: Outbox | str | os.PathLike[str] | None = None,
        delivery: DeliverySettings | None = None,
        http: HttpSettings | None = None,
        observers: Sequence[Observer] = (),
        log: bool = True,
        from_start: Sequence[str] = (),
        transport: Transport | None = None,
    ) -> None:
        settings = _settings(api_key, account_id, base_url, http)
        sinks, delivery = checked_sinks(sinks), delivery_settings(delivery)
        self._counters = Counters()
        logging = (LoggingObserver(),) if log else ()
        told = [self._counters, *logging, *several("observers", observers)]
        observer = Observers(told)
        self._session = anytrack_session(settings, transport=transport)
        self._anytrack = AnyTrackSink(
            settings, transport=transport, batch_timeout=delivery.batch_timeout
        )
        everyone = [self._anytrack, *sinks]
        check_patience(delivery, everyone)
        self._dispatcher = Dispatcher(
            make_outbox(outbox),
            everyone,
            delivery,
            notify=observer.notify,
            from_start=from_start,
        )
        self._sinks = {sink.name: sink for sink in sinks}
        for sink in sinks:
            if isinstance(sink, SupportsObserver):
                sink.set_observer(observer)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        sinks: Sequence[Sink] = (),
        outbox: Outbox | str | os.PathLike[str] | None = None,
        delivery: DeliverySettings | None = None,
        http: HttpSettings | None = None,
        observers: Sequence[Observer] = (),
        log: bool = True,
        from_start: Sequence[str] = (),
        transport: Transport | None = None,
    ) -> Self:
        """Return a client set up by environment variables.

        ``ANYTRACK_API_KEY`` and ``ANYTRACK_ACCOUNT_ID`` are required; ``ANYTRACK_BASE_URL`` and
        ``ANYTRACK_OUTBOX`` (a path; unset: memory) are optional. Every other registered destination
        is on when its variables are set; ``anytrack destinations`` lists them.

        Args:
            environ: instead of the process's environment.
            sinks: in addition to those that the environment configures.
            outbox: instead of the one that the environment asks for.
            delivery: see `AnyTrackClient`, as for the rest.
            http: for AnyTrack.
            observers: are told what happens.
            log: whether the logging observer is on.
            from_start: destinations that get what was accepted before them too.
            transport: takes the place of all connections, also of the sinks from the environment.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        settings = AnyTrackSettings.from_env(environ)
        return cls(
            settings.api_key,
            settings.account_id,
            base_url=settings.base_url,
            sinks=[*sinks_from_env(environ, transport), *checked_sinks(sinks)],
            outbox=outbox_from_env(environ) if outbox is None else outbox,
            delivery=delivery,
            http=http,
            observers=observers,
            log=log,
            from_start=from_start,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<AnyTrackClient: {', '.join(self._dispatcher.destinations)}>"

    @property
    def outbox(self) -> Outbox:
        """Where accepted conversions wait; ask it for dead letters, replay them through it."""
        return self._dispatcher.outbox

    async def stats(self) -> Stats:
        """Return counters since opening and depths of the outbox, per destination."""
        depths, states = await self.outbox.depths(), self._dispatcher.states()
        return Stats(
            submitted=self._counters.submitted,
            destinations={
                name: DestinationStats(
                    state=states.get(name),
                    **self._counters.of(name),
                    **attrs.asdict(depth),
                )
                for name, depth in depths.items()
            },
        )

    def resume(self, destination: str) -> None:
        """Let a lane that is held, throttled or down go on at once.

        A lane holds when the destination refuses the credentials. Replace them first: with
        `use_api_key`, or the sink's own ``use_token``.

        Raises:
            ConfigurationError: there is no such destination.
        """
        self._dispatcher.resume(destination)

    def use_api_key(self, api_key: str) -> None:
        """Use *api_key* for AnyTrack from the next request on, and let its lane go on.

        Raises:
            ConfigurationError: it cannot be one.
        """
        self._session.authorize(api_key)
        self._anytrack.use_token(api_key)
        self.resume(ANYTRACK)

    async def replay(self, destination: str, event_ids: Sequence[str] | None = None) -> int:
        """Send dead letters once more: those of *event_ids*, or all; return how many."""
        ids = None if event_ids is None else listed("event_ids", event_ids)
        count = await self.outbox.replay(destination, ids)
        self._dispatcher.wake()
        return count

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        self._session.closed = self._leaving = False
        try:
            async with self._dispatcher:
                try:
                    yield self
                finally:
                    self._leaving = True
        finally:
            self._session.closed = True
            await run_with_deadline("closing the connections to AnyTrack", self._session.aclose)


def _settings(
    api_key: str | None, account_id: str | None, base_url: str | None, http: HttpSettings | None
) -> AnyTrackSettings:
    given = {"base_url": base_url, "http": http}
    known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return AnyTrackSettings(
        api_key=_required("api_key", api_key),
        account_id=_required("account_id", account_id),
        **known,
    )


def _required(name: str, value: str | None) -> str:
    if value:
        return value
    raise ConfigurationError(
        f"{name} is missing: pass it, or set ANYTRACK_{name.upper()} and use "
        "AnyTrackClient.from_env()"
    )
