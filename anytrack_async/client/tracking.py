"""`Tracking`: conversions in, under the names that a synchronous client has."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Unpack

import anyio
import attrs

from anytrack_async.delivery.delivery import Delivery, DeliveryBatch
from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.track_many import Source, track_many
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.destinations.sink import BatchRejected, Sink, SinkSignal, Throttled
from anytrack_async.errors import (
    ClosedError,
    ConfigurationError,
    ConflictError,
    DeadLetterError,
    DeliveryTimeoutError,
    QueueFullError,
)
from anytrack_async.models.conversion import (
    Conversion,
    ConversionFields,
    ConversionType,
    PricedFields,
)
from anytrack_async.models.outcome import Outcome, Receipt, Report, Status
from anytrack_async.models.validators import Amount


class Tracking:
    """The part of the client that takes conversions.

    ``track_*`` methods wait until AnyTrack has the conversion; Meta, HubSpot and other sinks go on
    behind them. `submit` waits only until the outbox has it.
    """

    _dispatcher: Dispatcher

    async def submit(self, conversion: Conversion, *, to: Sequence[str] | None = None) -> Delivery:
        """Write *conversion* down and return its `Delivery`; lanes deliver it from there.

        With a durable outbox it is on disk when this returns. Submitting the same event id again
        does nothing and answers how the first one stands.

        Args:
            conversion: what happened.
            to: names of the destinations it is for; default: all.

        Raises:
            ConflictError: its event id was accepted before with other content.
            QueueFullError: the outbox is full and ``on_full="raise"``; it was not accepted.
            ClosedError: the client is not open; it was not accepted.
            OutboxError: it could not be written down; it was not accepted.
        """
        (delivery,) = await self._dispatcher.submit(_checked((conversion,)), to)
        if delivery is None:
            raise ConflictError(conversion.event_id)
        return delivery

    async def submit_many(
        self, conversions: Iterable[Conversion], *, to: Sequence[str] | None = None
    ) -> Sequence[Delivery]:
        """Write *conversions* down in one step and return their deliveries, in order.

        A delivery is made when you take it out, so that those nobody looks at cost next to nothing.

        Raises:
            ConflictError: an event id was accepted before with other content; all others of the
                call are accepted.
            QueueFullError: no room for all of them; none was accepted.
        """
        several = _checked(conversions)
        deliveries = await self._dispatcher.submit(several, to)
        if isinstance(deliveries, DeliveryBatch):
            return deliveries
        good = [delivery for delivery in deliveries if delivery is not None]
        if len(good) < len(several):
            raise ConflictError(several[deliveries.index(None)].event_id)
        return good

    def track_many(
        self,
        source: Source,
        *,
        to: Sequence[str] | None = None,
        at: Sequence[str] | None = None,
        in_flight: int = 10_000,
    ) -> AsyncGenerator[Report]:
        """Submit everything in *source*; yield a `Report` for each, in the order they finish.

        Memory stays flat: *source* is read only as fast as reports are taken. A conversion whose
        event id is in conflict is reported with status ``conflict`` and stops nothing.

        Args:
            source: any sync or async iterable of conversions. A sync one that is no list or tuple
                is advanced in a worker thread, so that reading a file blocks nothing; not always
                in the same one, so open a `sqlite3` connection it reads from with
                ``check_same_thread=False``.
            to: names of the destinations they are for; default: all.
            at: destinations to wait for before a report is yielded; default: all. ``()`` yields
                once a conversion is written down, ``("anytrack",)`` once AnyTrack has it.
            in_flight: how many may be accepted and not yet reported.

        Raises:
            ConfigurationError: there is no such destination, or no room in flight. At once.
            ClosedError: the client is not open, or closed before *source* ended.
            UndeliveredError: the client closed before all was delivered.
            QueueFullError: the outbox is full and ``on_full="raise"``; what was not reported by
                then may not have been accepted.
            Exception: what *source* raised, after the reports of all it gave before.
        """
        return track_many(self._dispatcher, source, to=to, at=at, in_flight=in_flight)

    async def track_conversion(
        self,
        conversion: Conversion | None = None,
        *,
        conversion_type: ConversionType | str | None = None,
        event_name: str | None = None,
        click_id: str | None = None,
        timeout: float | None = 30.0,
        **fields: Unpack[PricedFields],
    ) -> Receipt:
        """Track one conversion and wait until AnyTrack has it.

        Args:
            conversion: what happened; or give its fields by keyword.
            conversion_type: sale, lead, signup or custom; default: custom.
            event_name: the name of a custom event.
            click_id: AnyTrack's id of the click that led here.
            timeout: seconds to wait for AnyTrack, None for as long as it takes.
            fields: everything else a `Conversion` has.

        Raises:
            TypeError: a conversion is given and fields too.
            InvalidConversionError: a field is not valid; the message names it.
            DeliveryTimeoutError: AnyTrack has not confirmed it in time. It is safely queued and
                will be delivered; go on waiting with ``error.delivery``.
            DeadLetterError: AnyTrack refuses it; the reason is in ``error.outcome``.
            ConflictError: its event id was accepted before with other content.
            QueueFullError: the outbox had no room for it in time, see `submit`.
            UndeliveredError: the client closed before AnyTrack had it.
            ClosedError: the client is not open; it was not accepted.
            OutboxError: it could not be written down; it was not accepted.
        """
        if conversion is None:
            conversion = Conversion(
                conversion_type=conversion_type or ConversionType.CUSTOM,
                event_name=event_name,
                click_id=click_id,
                **fields,
            )
        elif fields or conversion_type or event_name or click_id:
            raise TypeError("give track_conversion a Conversion or its fields, not both")
        return await self._track(conversion, timeout)

    async def track_sale(
        self,
        click_id: str | None = None,
        revenue: Amount = 0,
        currency: str = "USD",
        *,
        product_id: str | None = None,
        timeout: float | None = 30.0,
        **fields: Unpack[ConversionFields],
    ) -> Receipt:
        """Track a sale and wait until AnyTrack has it; see `track_conversion`."""
        sale = Conversion.sale(
            click_id=click_id, revenue=revenue, currency=currency, product_id=product_id, **fields
        )
        return await self._track(sale, timeout)

    async def track_lead(
        self,
        click_id: str | None = None,
        *,
        lead_id: str | None = None,
        timeout: float | None = 30.0,
        **fields: Unpack[PricedFields],
    ) -> Receipt:
        """Track a lead and wait until AnyTrack has it; see `track_conversion`."""
        lead = Conversion.lead(click_id=click_id, lead_id=lead_id, **fields)
        return await self._track(lead, timeout)

    async def track_signup(
        self,
        click_id: str | None = None,
        *,
        timeout: float | None = 30.0,
        **fields: Unpack[PricedFields],
    ) -> Receipt:
        """Track a sign-up and wait until AnyTrack has it; see `track_conversion`."""
        signup = Conversion.signup(click_id=click_id, **fields)
        return await self._track(signup, timeout)

    async def _track(self, conversion: Conversion, timeout: float | None) -> Receipt:
        delivery: Delivery | None = None
        with anyio.move_on_after(timeout):
            delivery = await self.submit(conversion)
            return _receipt(delivery.event_id, await delivery.at(ANYTRACK))
        if delivery is None:
            raise QueueFullError(
                f"conversion {conversion.event_id!r} was not written down within {timeout:g} s, "
                "the outbox is full or slow; submit it again with this event_id, which cannot "
                "count it twice"
            )
        raise _timeout_error(delivery, timeout or 0.0)


def _checked(conversions: Iterable[Any]) -> tuple[Conversion, ...]:
    several = tuple(conversions)
    for one in several:
        if not isinstance(one, Conversion):
            raise TypeError(f"takes Conversion objects, got {type(one).__name__}")
    return several


def _timeout_error(delivery: Delivery, timeout: float) -> DeliveryTimeoutError:
    outcome = delivery.report.outcomes.get(ANYTRACK)
    last_error = f" (last error: {outcome.error})" if outcome and outcome.error else ""
    return DeliveryTimeoutError(
        f"conversion {delivery.event_id!r} is safely queued but {ANYTRACK} has not confirmed it "
        f"within {timeout:g} s{last_error}; do not submit it again, await error.delivery",
        delivery.event_id,
        delivery,
    )


def _receipt(event_id: str, outcome: Outcome) -> Receipt:
    if outcome.status is not Status.DELIVERED:
        raise DeadLetterError(event_id, outcome)
    return Receipt(event_id=event_id, conversion_id=outcome.remote_id, attempts=outcome.attempts)


class Pushing:
    """The part of the client that bypasses outbox and lanes."""

    _sinks: Mapping[str, Sink]
    _leaving = False

    async def sync_with_meta_capi(
        self, conversion: Conversion, sink: Sink | None = None
    ) -> Outcome:
        """Push one existing conversion to Meta's Conversions API now, past the outbox.

        Args:
            conversion: what to push. Meta and HubSpot tell repeats by `event_id`. One that was read
                back has the id it was tracked with only if AnyTrack answers ``custom_data``; with
                any other id, a destination that has it already counts it twice.
            sink: a `MetaSink`; default: the client's own.

        Returns:
            ``delivered``, ``rejected`` with Meta's reason, or ``retry`` if Meta could not say: it
            is down, throttles, or refuses the credentials. Nothing is retried here.

        Raises:
            ConfigurationError: no sink is given and the client has none for Meta.
            ClosedError: no sink is given and the client is closed, or about to be.
        """
        return await self._push(conversion, sink, "meta")

    async def sync_with_hubspot(self, conversion: Conversion, sink: Sink | None = None) -> Outcome:
        """Push one existing conversion to HubSpot now, past the outbox.

        See `sync_with_meta_capi`; *sink* is a `HubSpotSink`, and ``remote_id`` the deal's id.
        """
        return await self._push(conversion, sink, "hubspot")

    async def _push(self, conversion: Conversion, sink: Sink | None, name: str) -> Outcome:
        if not isinstance(conversion, Conversion):
            raise TypeError(f"takes a Conversion object, got {type(conversion).__name__}")
        sink = sink or self._own(name)
        return attrs.evolve(await _deliver(sink, conversion), destination=sink.name)

    def _own(self, name: str) -> Sink:
        if name not in self._sinks:
            raise ConfigurationError(f"the client has no sink {name!r}: add one, or pass it here")
        if self._leaving:  # a sink that is closed meanwhile would open again, for nobody to close
            raise ClosedError("the client is closed: use it inside its `async with` block")
        return self._sinks[name]


async def _deliver(sink: Sink, conversion: Conversion) -> Outcome:
    try:
        (outcome,) = await sink.deliver((conversion,))
    except BatchRejected as signal:
        return Outcome.rejected(signal.reason, code=signal.code)
    except Throttled as signal:
        return Outcome.retry(signal.reason, code=signal.code, after=signal.after)
    except SinkSignal as signal:
        return Outcome.retry(signal.reason, code=signal.code)
    return outcome
