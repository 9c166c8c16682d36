"""`AnyTrackClient`: all methods that an application calls, in one object."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Self
from weakref import WeakSet

import attrs

from anytrack_async.client.anytrack import AnyTrackAccess, access_from_env
from anytrack_async.client.config import (
    as_tuple,
    check_lease,
    check_shared,
    check_sinks,
    delivery_settings,
    make_outbox,
    outbox_from_env,
    sinks_from_env,
)
from anytrack_async.client.dead_letters import DeadLetters
from anytrack_async.client.environment import warn_of_unknown_variables
from anytrack_async.client.forgetting import Forgetting
from anytrack_async.client.opening import Opening
from anytrack_async.client.reads import Reads
from anytrack_async.client.stats import Counters, DestinationStats, Stats
from anytrack_async.client.subscription import Subscriptions
from anytrack_async.client.tracking import Pushing, Tracking
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.lifecycle import Supervisor
from anytrack_async.destinations.anytrack.sink import AnyTrackSink
from anytrack_async.destinations.collect.settings import CollectSettings
from anytrack_async.destinations.collect.sink import CollectSink
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.destinations.sink import (
    Preview,
    Sink,
    SinkLimits,
    SupportsObserver,
    SupportsPreview,
    SupportsToken,
    checked_names,
)
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import Observer
from anytrack_async.models.conversion import Conversion
from anytrack_async.observers import LoggingObserver, Observers
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import oldest_ages
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.fields import check_header_value, check_non_negative
from anytrack_async.settings.http import HttpSettings
from anytrack_async.telemetry.opentelemetry import Telemetry
from anytrack_async.transport.message import Transport


class AnyTrackClient(Opening, Tracking, Pushing, Subscriptions, DeadLetters, Forgetting, Reads):
    """Tracks conversions and reads them back.

    Use one client for the whole application: ``async with AnyTrackClient(…) as client``, or `start`
    and `aclose`. Every accepted conversion goes to AnyTrack and to each sink, and no destination
    waits for another. Closing delivers the remaining conversions. Those that cannot be delivered
    stay in a durable outbox for the next client; with an outbox in memory, an error names them.

    A client may be created without an event loop. While it is open, it belongs to one event loop of
    asyncio and to one process: calls from anywhere else raise `WrongEventLoopError`. A closed
    client may be opened again, also in another event loop.

    Args:
        api_key: AnyTrack's API key.
        account_id: AnyTrack's account id.
        base_url: URL of AnyTrack's REST API.
        collect: the collect URL of a custom integration in AnyTrack, or a `CollectSettings` or
            `CollectSink`: conversions go there instead of the REST API. Without an API key, the
            methods that read raise `ConfigurationError`.
        anytrack: False sends nothing to AnyTrack: *sinks* are all destinations, and no credentials
            of AnyTrack are needed. With an API key, the client can still read from AnyTrack.
        consent: what AnyTrack gets by `Conversion.consent`, see `AnyTrackSettings`.
        sinks: further destinations: `MetaSink`, `HubSpotSink`, your own.
        outbox: where accepted conversions wait: an `Outbox`, the path of a file for a
            `SQLiteOutbox`, or ``postgresql://…`` for a `PostgresOutbox`; default: a `MemoryOutbox`.
        delivery: retries, drain, back-pressure.
        http: timeouts, connections, retries and engine for AnyTrack.
        observers: notified of events, in addition to the logger ``anytrack_async``.
        log: whether events are logged.
        from_start: destinations new to the outbox that also get the conversions accepted before.
        transport: replaces the connections to AnyTrack, e.g. `httpx.MockTransport`; closed with the
            client. Each sink has a transport of its own, which may be the same object.
        telemetry: False turns OpenTelemetry off; a `Telemetry` uses other providers than the global
            ones. By default it is on if the application has set a provider when the client opens.

    Attributes:
        conversions: the conversions that AnyTrack has recorded.
        attribution: attribution weights and touchpoints of a conversion.
        affiliates: how affiliates perform.
        reports: totals by day.

    Raises:
        ConfigurationError: a setting is missing or wrong; the message names it.
        UndeliveredError: on leaving the block, if undelivered conversions are lost with an outbox
            in memory.
        WrongEventLoopError: the client is open in another event loop, or was opened before this
            process was forked; on opening it without asyncio, e.g. in trio.
    """

    def __init__(
        self,
        api_key: str | None = None,
        account_id: str | None = None,
        *,
        base_url: str | None = None,
        collect: CollectSink | CollectSettings | str | None = None,
        anytrack: bool = True,
        consent: ConsentRule | None = None,
        sinks: Sequence[Sink] = (),
        outbox: Outbox | str | os.PathLike[str] | None = None,
        delivery: DeliverySettings | None = None,
        http: HttpSettings | None = None,
        observers: Sequence[Observer] = (),
        log: bool = True,
        from_start: Sequence[str] = (),
        transport: Transport | None = None,
        telemetry: Telemetry | bool | None = None,
    ) -> None:
        sinks, delivery = check_sinks(sinks), delivery_settings(delivery)
        self._counters = Counters()
        observer = self._make_observers(observers, log=log)
        self._observers, self._telemetry, self._subscriptions = observer, telemetry, WeakSet()
        access = AnyTrackAccess(
            api_key,
            account_id,
            collect,
            sends=anytrack,
            transport=transport,
            base_url=base_url,
            http=http,
            consent=consent,
        )
        self._session, self._anytrack = access.session(), access.sink(delivery.batch_timeout)
        all_sinks = sinks if self._anytrack is None else (self._anytrack, *sinks)
        self._dispatcher = _make_dispatcher(outbox, all_sinks, delivery, observer, from_start)
        self._session.check = access.check or self._dispatcher.guard.check
        self._supervisor = Supervisor(self._opened, self._dispatcher.guard)
        self._can_read, self._sinks = access.check is None, {sink.name: sink for sink in sinks}
        _observe(all_sinks, observer)

    def _make_observers(self, observers: Sequence[Observer], *, log: bool) -> Observers:
        own = (LoggingObserver(), self._counters) if log else (self._counters,)
        return Observers([*own, *as_tuple("observers", observers)])

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        anytrack: bool = True,
        sinks: Sequence[Sink] = (),
        outbox: Outbox | str | os.PathLike[str] | None = None,
        delivery: DeliverySettings | None = None,
        http: HttpSettings | None = None,
        observers: Sequence[Observer] = (),
        log: bool = True,
        from_start: Sequence[str] = (),
        transport: Transport | None = None,
        telemetry: Telemetry | bool | None = None,
    ) -> Self:
        """Return a client that is configured by environment variables.

        ``ANYTRACK_API_KEY`` and ``ANYTRACK_ACCOUNT_ID`` are required, unless
        ``ANYTRACK_COLLECT_URL`` is set; see *collect* of the class. ``ANYTRACK_BASE_URL`` and
        ``ANYTRACK_OUTBOX`` (a path, or ``postgresql://…``; if unset, the outbox is in memory) are
        optional, and so is ``ANYTRACK_OUTBOX_KEYS``, which encrypts the outbox file. Every other
        registered destination is on if its variables are set; ``anytrack destinations`` lists them.
        A variable that looks like one of these and is read by nothing is logged as a warning.

        Args:
            environ: variables to use instead of the process's environment.
            anytrack: False needs no variables of AnyTrack, and sends nothing there; see the class.
            sinks: sinks in addition to those that the environment configures.
            outbox: replaces the outbox at ``ANYTRACK_OUTBOX``; a path is encrypted as well.
            delivery: retries, drain, back-pressure.
            http: timeouts, connections, retries and engine for AnyTrack.
            observers: notified of events.
            log: whether events are logged.
            from_start: destinations new to the outbox that also get the conversions accepted
                before.
            transport: replaces all connections, including those of the environment's sinks.
            telemetry: see the class.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        if log:
            warn_of_unknown_variables(environ)
        # The client creates AnyTrack's sink itself, because that sink depends on the lease.
        return cls(
            **access_from_env(environ, sends=anytrack),
            sinks=[*sinks_from_env(environ, transport), *check_sinks(sinks)],
            outbox=outbox_from_env(environ, outbox),
            delivery=delivery,
            http=http,
            observers=observers,
            log=log,
            from_start=from_start,
            transport=transport,
            telemetry=telemetry,
        )

    def __repr__(self) -> str:
        return f"<AnyTrackClient: {', '.join(self._dispatcher.destinations)}>"

    async def stats(self) -> Stats:
        """Return this client's counters and the depths of its outbox, for each destination."""
        self._dispatcher.guard.check()
        # The outbox may have destinations without a lane in this client: their state is None.
        depths, conditions = await self.outbox.depths(), self._dispatcher.conditions()
        ages = await oldest_ages(self.outbox)
        pauses = await self._dispatcher.pauses.read(list(depths))
        weakened = {name: {**kinds} for name, kinds in self._counters.weakened.items()}
        return Stats(
            submitted=self._counters.submitted,
            contradicted=self._counters.contradicted,
            destinations={
                name: DestinationStats(
                    **conditions.get(name, {}),
                    weakened=weakened.get(name, {}),
                    **self._counters.for_destination(name),
                    **attrs.asdict(depth),
                    oldest_age=ages.get(name),
                    pause=pauses.get(name),
                )
                for name, depth in depths.items()
            },
            weakened=weakened.get(None, {}),
        )

    @property
    def limits(self) -> Mapping[str, SinkLimits]:
        """Destination → the limits of its sink, for every destination."""
        return self._dispatcher.limits

    @property
    def sinks(self) -> Mapping[str, Sink]:
        """Destination → its sink, for every destination."""
        return {sink.name: sink for sink in self._dispatcher.sinks}

    def preview(self, conversion: Conversion) -> Mapping[str, Preview]:
        """Return destination → the requests that it would get for *conversion*; nothing is sent.

        A sink without a method ``preview`` is left out. The requests have the customer's data.
        """
        return {
            sink.name: sink.preview(conversion)
            for sink in self._dispatcher.sinks
            if isinstance(sink, SupportsPreview)
        }

    def pause(self, destination: str, reason: str = "", *, by: str = "") -> None:
        """Send nothing to *destination* until `resume`; requests in flight are finished.

        Conversions for the destination are accepted as before, and wait. The pause is stored in the
        outbox a moment later: other processes with the same outbox stop sending within a few
        seconds, and a client that opens later does not begin to send. An outbox that is not a
        `KeepsCheckpoints` cannot store the pause: then only this client pauses. An outbox in memory
        keeps the pause as long as the object exists.

        Args:
            destination: a destination of this client, also of one that does not deliver itself.
            reason: why, in at most 200 characters, for ``client.stats()`` and the console.
            by: the operator's name, likewise.

        Raises:
            ConfigurationError: the client has no such destination.
            WrongEventLoopError: see `resume`.
        """
        self._dispatcher.guard.check()
        self._dispatcher.pause(destination, reason, by)

    def resume(self, destination: str) -> None:
        """Let the lane of *destination* try again at once: held, throttled, down or paused.

        A pause is stored in the outbox, so it ends for every process; a hold ends for this client
        only. A lane holds when its destination needs an operator, see `LaneHeld`. If the
        credentials were rejected, replace them with `use_token`, which resumes the lane too. The
        event `LaneResumed` follows when the destination accepts a conversion, and another
        `LaneHeld` when it refuses again.

        Raises:
            ConfigurationError: the client has no such destination.
            WrongEventLoopError: the client is open in another event loop; call it there, e.g. with
                ``loop.call_soon_threadsafe``.
        """
        self._dispatcher.guard.check()
        self._dispatcher.resume(destination)

    def use_api_key(self, api_key: str) -> None:
        """Use *api_key* for AnyTrack from the next request on: ``use_token("anytrack", api_key)``.

        Raises:
            ConfigurationError: *api_key* cannot be sent in a header.
            WrongEventLoopError: see `resume`.
        """
        self.use_token(ANYTRACK, api_key)

    def use_token(self, destination: str, token: str) -> None:
        """Use *token* for *destination* from the next request on, without a restart.

        A lane that is held sends one conversion at once, and the others if that is accepted. A late
        refusal of the old token does not hold it again.

        Args:
            destination: a destination of this client. For ``"anytrack"``, reads use the token too.
            token: AnyTrack's API key, Meta's access token, or HubSpot's access token; for a
                `HubSpotSink` with ``oauth``, a refresh token. Neither the new nor the old token is
                shown in a log or an error. For a sink of your own, see `SupportsToken`.

        Raises:
            ConfigurationError: the client has no such destination, its sink has no ``use_token``,
                or *token* cannot be sent in a header; nothing has changed.
            WrongEventLoopError: see `resume`.
        """
        self._dispatcher.guard.check()
        check_header_value("token", token)
        has_key_for_sending = isinstance(self._anytrack, AnyTrackSink)
        if destination == ANYTRACK and self._can_read and not has_key_for_sending:
            self._session.authorize(token)  # for reads: the collect URL has no token
            return
        checked_names("use_token", [destination], self._dispatcher.destinations)
        sink: object = {**self._sinks, ANYTRACK: self._anytrack}[destination]
        if not isinstance(sink, SupportsToken):
            raise ConfigurationError(
                f"use_token: {type(sink).__name__}, the sink of {destination}, cannot replace its "
                "token: give it a method use_token(token), or restart with the new token"
            )
        sink.use_token(token)
        if destination == ANYTRACK:
            self._session.authorize(token)
        self._dispatcher.replace_credentials(destination)

    def limit_drain(self, seconds: float) -> None:
        """Let closing take *seconds* at most instead of `DeliverySettings.drain`, this time.

        For an application that has to stop early, e.g. after a second Ctrl-C: call this before the
        client closes, or while it closes. With a durable outbox, nothing new is sent from then on;
        requests in flight have *seconds* to end. 0 cuts them off, and they are sent again later.

        Raises:
            ConfigurationError: *seconds* is not a number of at least 0.
            WrongEventLoopError: see `resume`.
        """
        self._dispatcher.guard.check()
        check_non_negative("seconds", seconds)
        self._dispatcher.limit_drain(seconds)


def _make_dispatcher(
    outbox: Outbox | str | os.PathLike[str] | None,
    sinks: Sequence[Sink],
    delivery: DeliverySettings,
    observers: Observers,
    from_start: Sequence[str],
) -> Dispatcher:
    if not sinks:
        raise ConfigurationError(
            "the client has no destination: set the variables of one, which `anytrack "
            "destinations` lists, or pass sinks"
        )
    check_lease(delivery, sinks)
    return Dispatcher(
        check_shared(delivery, make_outbox(outbox)),
        sinks,
        delivery,
        notify=observers.notify,
        tick=observers.flush,
        from_start=from_start,
    )


def _observe(sinks: Sequence[Sink], observer: Observer) -> None:
    for sink in sinks:
        if isinstance(sink, SupportsObserver):
            sink.set_observer(observer)
