"""`Pushing`: one conversion to one destination, now."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from anytrack_async.destinations.sink import BatchRejected, Sink, SinkSignal, Throttled
from anytrack_async.errors import ClosedError, ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome


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
