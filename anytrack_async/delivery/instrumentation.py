"""How `Telemetry` gets between a dispatcher, its sinks and its outbox, while the client is open.

Without telemetry nothing is wrapped, so that it costs nothing per conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import anyio
import attrs

from anytrack_async.delivery.flow import LaneState
from anytrack_async.destinations.sink import Sink, SinkLimits
from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import oldest_ages
from anytrack_async.telemetry import names
from anytrack_async.telemetry.opentelemetry import Deliver, Gauges, Telemetry

_REFRESH_EVERY = 10.0
"""Seconds between two looks at the outbox. OpenTelemetry exports every minute by default."""


@attrs.frozen
class TracedSink:
    """A sink as a lane needs it, with a span around each batch."""

    name: str
    limits: SinkLimits
    deliver: Deliver


def traced_sink(sink: Sink, telemetry: Telemetry | None, *, own_trace: bool = True) -> Sink:
    """Return *sink*, traced if there is *telemetry*; see `Telemetry.traced_deliver`."""
    if telemetry is None:
        return sink
    deliver = telemetry.traced_deliver(sink.name, sink.deliver, own_trace=own_trace)
    return TracedSink(sink.name, sink.limits, deliver)


async def refresh_gauges(
    telemetry: Telemetry, outbox: Outbox, states: Callable[[], Mapping[str, LaneState]]
) -> None:
    """Keep the gauges of *telemetry* up to date, until cancelled.

    The SDK reads gauges in a thread of its own, where nothing can be awaited.
    """
    while True:
        with suppress(OutboxError):  # the lanes tell that it fails; the gauges stay as they are
            depths = await outbox.depths()
            telemetry.gauges = Gauges(
                depths={
                    name: {key: getattr(depth, key) for key in names.DEPTHS}
                    for name, depth in depths.items()
                },
                ages=await oldest_ages(outbox),
                states={name: state.value for name, state in states().items()},
            )
        await anyio.sleep(_REFRESH_EVERY)
