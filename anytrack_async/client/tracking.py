"""Sending conversions: through the outbox (`Tracking`), or directly to a destination (`Pushing`).

The methods have the names of AnyTrack's synchronous client.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from math import isnan
from numbers import Real
from typing import Unpack, overload

import anyio
import attrs

from anytrack_async.client.submitting import Submitting, to_sendable
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.instrumentation import traced_sink
from anytrack_async.delivery.track_many import Source, track_many
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.destinations.sink import BatchRejected, Sink, SinkSignal, Throttled
from anytrack_async.errors import (
    ClosedError,
    ConfigurationError,
    DeadLetterError,
    DeliveryTimeoutError,
    InvalidArgumentError,
    QueueFullError,
)
from anytrack_async.models.conversion import (
    Conversion,
    ConversionFields,
    ConversionType,
    ConversionTypeName,
    PricedFields,
)
from anytrack_async.models.identifiers import Identifier
from anytrack_async.models.mappings import is_flag
from anytrack_async.models.outcome import Outcome, Receipt, Report, Status
from anytrack_async.models.validators import Amount


class Tracking(Submitting):
    """The part of the client that accepts conversions.

    ``track_*`` methods wait until AnyTrack has confirmed the conversion; its delivery to Meta,
    HubSpot and other sinks continues in the background. `submit` waits only until the conversion is
    in the outbox.
    """

    _dispatcher: Dispatcher

    def track_many(
        self,
        source: Source,
        *,
        to: Sequence[str] | None = None,
        at: Sequence[str] | None = None,
        in_flight: int = 10_000,
    ) -> AsyncGenerator[Report]:
        """Submit the conversions of *source*; yield a `Report` for each, in the order they finish.

        Memory stays flat: *source* is read only as fast as reports are taken. A conversion that
        contradicts the first one with its event id stops nothing: its report has the outcomes of
        the first one, and `Report.contradicts`.

        Args:
            source: any sync or async iterable of conversions. A sync iterable other than a list or
                tuple is advanced in worker threads, so that reading a file does not block the event
                loop. The thread may change: open a `sqlite3` connection that *source* reads from
                with ``check_same_thread=False``.
            to: names of the destinations; default: all.
            at: destinations to wait for before a report is yielded; default: all. ``()`` yields
                once a conversion is stored, ``("anytrack",)`` once AnyTrack has confirmed it.
            in_flight: how many conversions may be accepted and not yet reported.

        Raises:
            ConfigurationError: there is no such destination, or *in_flight* is less than 1. Raised
                at once.
            ClosedError: the client is not open, or closed before *source* ended.
            UndeliveredError: the client closed before everything was delivered.
            ConflictError: a conversion contradicts the first one with its event id, and
                ``on_conflict="raise"``; after the reports of all conversions that were read.
            QueueFullError: a destination is full and ``on_full="raise"``, or all are with
                ``"shed"``; with ``"wait"`` it waits without limit. Conversions that were not
                reported by then may not have been accepted.
            UnsendableError: *source* yielded a conversion that is larger than 1 MiB, or was read
                back and cannot be sent; everything before it was accepted.
            TypeError: *source* yielded an object that is not a `Conversion`.
            Exception: the exception that *source* raised, after the reports of all its conversions.
        """
        return track_many(self._dispatcher, source, to=to, at=at, in_flight=in_flight)

    @overload
    async def track_conversion(
        self, conversion: Conversion, *, timeout: float | None = 30.0
    ) -> Receipt: ...
    @overload
    async def track_conversion(
        self,
        *,
        conversion_type: ConversionType | ConversionTypeName | None = None,
        event_name: str | None = None,
        click_id: Identifier | None = None,
        timeout: float | None = 30.0,
        **fields: Unpack[PricedFields],
    ) -> Receipt: ...
    async def track_conversion(
        self,
        conversion: Conversion | None = None,
        *,
        conversion_type: ConversionType | ConversionTypeName | None = None,
        event_name: str | None = None,
        click_id: Identifier | None = None,
        timeout: float | None = 30.0,
        **fields: Unpack[PricedFields],
    ) -> Receipt:
        """Track one conversion and wait until AnyTrack has confirmed it.

        Args:
            conversion: the conversion; alternatively, pass its fields by keyword.
            conversion_type: sale, lead, signup or custom; default: custom.
            event_name: the name of a custom event.
            click_id: AnyTrack's id of the click that led to the conversion.
            timeout: seconds to wait for AnyTrack, None to wait as long as it takes.
            fields: all other fields of a `Conversion`.

        Raises:
            TypeError: both a conversion and fields are given.
            InvalidConversionError: a field is invalid; the message names it.
            DeliveryTimeoutError: AnyTrack has not confirmed the conversion in time. It is safely
                queued and will be delivered; keep waiting with ``error.delivery``.
            DeadLetterError: AnyTrack rejected the conversion; ``error.outcome`` has the reason.
            ConflictError: it contradicts the first conversion with its event id, and
                ``on_conflict="raise"``.
            QueueFullError: there was no room for the conversion in time, see `submit`.
            UndeliveredError: the client closed before AnyTrack confirmed the conversion.
            ClosedError: the client is not open; nothing was accepted.
            OutboxError: the conversion could not be stored; nothing was accepted.
            UnsendableError: the conversion is larger than 1 MiB; nothing was accepted.
            ConfigurationError: the client sends nothing to AnyTrack; nothing was accepted.
        """
        if conversion is None:
            conversion = Conversion._of(
                conversion_type=(
                    ConversionType.CUSTOM if conversion_type is None else conversion_type
                ),
                event_name=event_name,
                click_id=click_id,
                **fields,
            )
        elif fields or not conversion_type is event_name is click_id is None:
            raise TypeError("track_conversion needs a Conversion or its fields, not both")
        return await self._track(conversion, timeout)

    async def track_sale(
        self,
        click_id: Identifier | None = None,
        revenue: Amount = 0,
        currency: str | None = "USD",
        *,
        product_id: Identifier | None = None,
        timeout: float | None = 30.0,
        **fields: Unpack[ConversionFields],
    ) -> Receipt:
        """Track a sale and wait until AnyTrack has confirmed it; see `track_conversion`."""
        sale = Conversion.sale(
            click_id=click_id, revenue=revenue, currency=currency, product_id=product_id, **fields
        )
        return await self._track(sale, timeout)

    async def track_lead(
        self,
        click_id: Identifier | None = None,
        *,
        lead_id: Identifier | None = None,
        timeout: float | None = 30.0,
        **fields: Unpack[PricedFields],
    ) -> Receipt:
        """Track a lead and wait until AnyTrack has confirmed it; see `track_conversion`."""
        lead = Conversion.lead(click_id=click_id, lead_id=lead_id, **fields)
        return await self._track(lead, timeout)

    async def track_signup(
        self,
        click_id: Identifier | None = None,
        *,
        timeout: float | None = 30.0,
        **fields: Unpack[PricedFields],
    ) -> Receipt:
        """Track a sign-up and wait until AnyTrack has confirmed it; see `track_conversion`."""
        signup = Conversion.signup(click_id=click_id, **fields)
        return await self._track(signup, timeout)

    async def _track(self, conversion: Conversion, timeout: float | None) -> Receipt:
        if ANYTRACK not in self._dispatcher.destinations:
            raise ConfigurationError(
                "the track methods wait for AnyTrack, and this client sends nothing there "
                "(anytrack=False): use submit(), whose deliveries wait for the other destinations"
            )
        delivery: Delivery | None = None
        timeout = to_seconds(timeout)
        # One timeout for both waits: after 20 s for space in a full outbox, 10 s remain for
        # AnyTrack.
        with anyio.move_on_after(timeout):
            delivery = await self.submit(conversion)
            return _receipt(delivery.event_id, await delivery.at(ANYTRACK))
        if delivery is None:
            raise QueueFullError(
                f"conversion {conversion.event_id!r} was not accepted within {timeout:g} s: the "
                "outbox is full or slow; submit it again with this event_id, so that it is not "
                "counted twice"
            )
        raise _timeout_error(delivery, timeout or 0.0)


def _timeout_error(delivery: Delivery, timeout: float) -> DeliveryTimeoutError:
    outcome = delivery.report.outcomes.get(ANYTRACK)
    last_error = f" (last error: {outcome.error})" if outcome and outcome.error else ""
    return DeliveryTimeoutError(
        f"conversion {delivery.event_id!r} is safely queued but {ANYTRACK} has not confirmed it "
        f"within {timeout:g} s{last_error}; do not submit it again, await error.delivery",
        delivery.event_id,
        delivery,
    )


def to_seconds(timeout: object) -> float | None:
    """Return *timeout* as a float; None for no limit.

    Raises:
        InvalidArgumentError: it is not a number of seconds.
    """
    if timeout is None:
        return None
    try:
        if isinstance(timeout, Real) and not is_flag(timeout):
            seconds = float(timeout)
            if not isnan(seconds):
                return seconds
    except (OverflowError, TypeError):  # an integer of more than 308 digits; a duration of numpy
        pass
    raise InvalidArgumentError("timeout", "must be a number of seconds, or None for no limit")


def _receipt(event_id: str, outcome: Outcome) -> Receipt:
    # Waiting ends with one of four outcomes: delivered, skipped, dropped, or dead.
    if outcome.status is Status.SKIPPED:  # no error: a visitor's consent breaks no checkout
        return Receipt(event_id=event_id, attempts=0, skipped=True)
    if outcome.status is Status.DROPPED:
        raise QueueFullError(
            f"conversion {event_id!r} was accepted, but not for {outcome.destination}: "
            f"{outcome.error}"
        )
    if outcome.status is not Status.DELIVERED:
        raise DeadLetterError(event_id, outcome)
    return Receipt(event_id=event_id, conversion_id=outcome.remote_id, attempts=outcome.attempts)


class Pushing:
    """The part of the client that bypasses outbox and lanes: a push is sent at once, only once."""

    _dispatcher: Dispatcher
    _sinks: Mapping[str, Sink]
    _closing = False

    async def sync_with_meta_capi(
        self, conversion: Conversion, sink: Sink | None = None
    ) -> Outcome:
        """Push one existing conversion to Meta's Conversions API now, bypassing the outbox.

        Args:
            conversion: the conversion. Meta and HubSpot recognise repeats by `event_id`. A
                conversion that was read back is validated first. It has its original id only if
                AnyTrack returned its ``custom_data``; under any other id, a destination that
                already has the conversion counts it twice.
            sink: a `MetaSink`; default: the client's own.

        Returns:
            ``delivered``, ``rejected`` with Meta's reason, or ``retry`` if a later push may
            succeed: Meta is down, throttles, or does not accept the credentials. The push itself is
            never retried.

        Raises:
            ConfigurationError: no sink is passed and the client has no sink for Meta.
            ClosedError: no sink is passed and the client is closed or closing.
            UnsendableError: *conversion* was read back and cannot be sent; the message
                names its invalid fields.
            TypeError: *conversion* is not a `Conversion`.
        """
        return await self._push(conversion, sink, "meta")

    async def sync_with_hubspot(self, conversion: Conversion, sink: Sink | None = None) -> Outcome:
        """Push one existing conversion to HubSpot now, bypassing the outbox.

        See `sync_with_meta_capi`; *sink* is a `HubSpotSink`, and ``remote_id`` the deal's id.
        """
        return await self._push(conversion, sink, "hubspot")

    async def _push(self, conversion: Conversion, sink: Sink | None, name: str) -> Outcome:
        if not isinstance(conversion, Conversion):
            raise TypeError(f"expected a Conversion, got {type(conversion).__name__}")
        conversion = to_sendable(conversion)
        sink = sink or self._own_sink(name)
        sink = traced_sink(sink, self._dispatcher.telemetry, own_trace=False)
        return attrs.evolve(await _deliver(sink, conversion), destination=sink.name)

    def _own_sink(self, name: str) -> Sink:
        if name not in self._sinks:
            raise ConfigurationError(
                f"the client has no sink for {name!r}: add it to AnyTrackClient(sinks=…), or pass "
                "sink=…"
            )
        self._dispatcher.guard.check()
        if self._closing:
            # The sink may be closed already: sending would open connections that stay open.
            raise ClosedError(
                "the client is closed: use it inside its `async with` block, or between "
                "`await client.start()` and `await client.aclose()`"
            )
        return self._sinks[name]


async def _deliver(sink: Sink, conversion: Conversion) -> Outcome:
    """Send *conversion* alone; a signal that a lane would act on becomes an outcome."""
    try:
        (outcome,) = await sink.deliver((conversion,))
    except BatchRejected as signal:
        # A batch of one conversion cannot be bisected.
        return Outcome.rejected(signal.reason, code=signal.code, http_status=signal.http_status)
    except SinkSignal as signal:
        return Outcome.retry(
            signal.reason,
            code=signal.code,
            after=signal.after if isinstance(signal, Throttled) else None,
            http_status=signal.http_status,
        )
    return outcome
