"""`Telemetry`: spans and metrics of a client, with OpenTelemetry's API.

    send anytrack.outbox   PRODUCER   in the caller's trace; the conversions keep its trace context
    process meta           CONSUMER   a trace of its own, with a link to each submitting span
    └─ POST                CLIENT     each request of the batch

A client asks for the providers when it is opened. Without one, nothing of this module runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast

import attrs

from anytrack_async._version import __version__
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import (
    DeadLettered,
    Delivered,
    Dropped,
    Event,
    Retried,
    Skipped,
    Submitted,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.notes import set_traceparent
from anytrack_async.telemetry import names
from anytrack_async.telemetry.http import ACTIVE, HttpTelemetry, set_failed

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
    from opentelemetry.trace import Link, TracerProvider

_MAX_LINKS = 128
"""Links of a span; OpenTelemetry's SDK keeps as many by default."""

_TRACEPARENT = "traceparent"
_PACKAGE = "opentelemetry"
_PROVIDER_VARIABLES = {"OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER"}

Deliver: TypeAlias = Callable[[Sequence[Conversion]], Coroutine[Any, Any, Any]]
"""The method `Sink.deliver`."""

_Append = TypeVar("_Append", bound=Callable[..., Coroutine[Any, Any, Any]])


@attrs.frozen(kw_only=True)
class Gauges:
    """The values of the gauges at one moment.

    Attributes:
        depths: destination → ``waiting``, ``retrying``, ``in_flight`` and ``dead``.
        ages: destination → age of the oldest waiting conversion, seconds.
        states: destination → the state of its lane.
    """

    depths: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    ages: Mapping[str, float] = attrs.field(factory=dict)
    states: Mapping[str, str] = attrs.field(factory=dict)


class Telemetry:
    """Traces and metrics of a client.

    A client uses the global providers by itself, if there are any when it is opened. Pass one of
    these only for other providers: ``AnyTrackClient(…, telemetry=Telemetry(tracer_provider=…))``.

    Args:
        tracer_provider: makes the tracer; default: the global one.
        meter_provider: makes the meter; default: the global one.

    Raises:
        ConfigurationError: ``opentelemetry-api`` is not installed
            (``pip install 'anytrack_async[otel]'``).
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        try:
            from opentelemetry.metrics import get_meter
            from opentelemetry.trace import get_tracer
        except ImportError:
            raise ConfigurationError(
                "telemetry needs the package opentelemetry-api: pip install 'anytrack_async[otel]'"
            ) from None
        self._tracer = get_tracer(names.SCOPE, __version__, tracer_provider)
        meter = get_meter(names.SCOPE, __version__, meter_provider)
        self._sent = meter.create_counter(names.SENT_MESSAGES, "{message}")
        self._deliveries = meter.create_counter(names.DELIVERIES, "{conversion}")
        self._process_duration = _seconds_histogram(meter, names.PROCESS_DURATION)
        self.http = HttpTelemetry(self._tracer, _seconds_histogram(meter, names.REQUEST_DURATION))
        self.gauges = Gauges()
        self._create_gauges(meter)

    @classmethod
    def from_globals(cls) -> Self | None:
        """Return telemetry with the global providers; None if the application has set none."""
        # Who sets a provider has imported OpenTelemetry, or names it in the environment. Nobody
        # else pays for the import, and for the larger heap that garbage collections go through.
        if _PACKAGE not in sys.modules and not _PROVIDER_VARIABLES & os.environ.keys():
            return None
        try:
            from opentelemetry.metrics import get_meter_provider
            from opentelemetry.trace import get_tracer_provider
        except ImportError:
            return None
        providers = (get_tracer_provider(), get_meter_provider())
        return cls() if any(map(_records, providers)) else None

    # Metrics

    def notify(self, event: Event) -> None:
        """Count *event*; telemetry is an `Observer`."""
        match event:
            case Submitted(event_ids=ids):
                attributes = {names.SYSTEM: names.SCOPE, names.MESSAGING_DESTINATION: names.OUTBOX}
                self._sent.add(len(ids), attributes)
            case Delivered(destination=name, event_ids=ids):
                self._count(name, "delivered", len(ids))
            case Retried(destination=name, event_ids=ids):
                self._count(name, "retried", len(ids))
            case DeadLettered(destination=name):
                self._count(name, "dead", 1)
            case Skipped(destination=name, event_ids=ids):
                self._count(name, "skipped", len(ids))
            case Dropped(destination=name, event_ids=ids):
                self._count(name, "dropped", len(ids))
            case _:
                pass  # other events are states, which the gauges have

    def _count(self, destination: str, outcome: str, count: int) -> None:
        self._deliveries.add(count, {names.DESTINATION: destination, names.OUTCOME: outcome})

    def _create_gauges(self, meter: Meter) -> None:
        for attribute, name in names.DEPTHS.items():
            meter.create_observable_gauge(name, [self._depth_callback(attribute)], "{conversion}")
        meter.create_observable_gauge(names.OLDEST_AGE, [self._observe_ages], "s")
        meter.create_observable_gauge(names.LANE_STATE, [self._observe_states])

    # The SDK calls these in a thread of its own. They read one immutable object.

    def _depth_callback(self, attribute: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            depths = self.gauges.depths
            return [_observation(depth[attribute], name) for name, depth in depths.items()]

        return observe

    def _observe_ages(self, _: CallbackOptions) -> Iterable[Observation]:
        gauges = self.gauges
        return [_observation(gauges.ages.get(name, 0.0), name) for name in gauges.depths]

    def _observe_states(self, _: CallbackOptions) -> Iterable[Observation]:
        states = self.gauges.states.items()
        return [_observation(1, name, **{names.STATE: state}) for name, state in states]

    # Spans

    def traced_append(self, append: _Append) -> _Append:
        """Return *append*, which stores conversions, with a span around each call.

        The conversions carry the trace context of that span from then on.
        """
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()

        async def traced(conversions: Sequence[Conversion], *arguments: Any) -> Any:
            with self._tracer.start_as_current_span(
                names.SEND_SPAN,
                kind=SpanKind.PRODUCER,
                attributes=_send_attributes(conversions),
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                carrier: dict[str, str] = {}
                propagator.inject(carrier)
                if traceparent := carrier.get(_TRACEPARENT):
                    for conversion in conversions:
                        set_traceparent(conversion, traceparent)
                try:
                    return await append(conversions, *arguments)
                except Exception as exc:
                    span.set_attribute(names.ERROR_TYPE, type(exc).__qualname__)
                    set_failed(span)
                    raise

        return cast("_Append", traced)

    def traced_deliver(self, name: str, deliver: Deliver, *, own_trace: bool = True) -> Deliver:
        """Return *deliver*, the method of a sink, with a span around each call.

        Args:
            name: the sink's name.
            deliver: its method.
            own_trace: whether the span begins a trace, because a batch belongs to the requests of
                many callers; False for a push, which belongs to its caller's trace.
        """
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        async def traced(batch: Sequence[Conversion]) -> Any:
            attributes = _process_attributes(name)
            started = perf_counter()
            with self._tracer.start_as_current_span(
                names.process_span(name),
                context=Context() if own_trace else None,
                kind=SpanKind.CONSUMER,
                attributes={**attributes, names.BATCH_SIZE: len(batch)},
                links=_links(batch),
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                token = ACTIVE.set(self.http)
                try:
                    return await deliver(batch)
                except BaseException as exc:
                    attributes[names.ERROR_TYPE] = type(exc).__qualname__
                    span.set_attribute(names.ERROR_TYPE, type(exc).__qualname__)
                    set_failed(span)
                    raise
                finally:
                    ACTIVE.reset(token)
                    self._process_duration.record(perf_counter() - started, attributes)

        return traced


def _records(provider: object) -> bool:
    """Return whether an application has set *provider*: the API's own providers record nothing."""
    module = type(provider).__module__
    return not module.startswith(("opentelemetry.trace", "opentelemetry.metrics"))


def _seconds_histogram(meter: Meter, name: str) -> Any:
    buckets = names.SECONDS_BUCKETS
    return meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=buckets)


def _observation(value: float, destination: str, **attributes: str) -> Observation:
    from opentelemetry.metrics import Observation

    return Observation(value, {names.DESTINATION: destination, **attributes})


def _send_attributes(conversions: Sequence[Conversion]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        names.SYSTEM: names.SCOPE,
        names.OPERATION_NAME: "send",
        names.OPERATION_TYPE: "send",
        names.MESSAGING_DESTINATION: names.OUTBOX,
    }
    if len(conversions) == 1:
        return attributes | {names.MESSAGE_ID: conversions[0].event_id}
    return attributes | {names.BATCH_SIZE: len(conversions)}


def _process_attributes(name: str) -> dict[str, Any]:
    return {
        names.SYSTEM: names.SCOPE,
        names.OPERATION_NAME: "process",
        names.OPERATION_TYPE: "process",
        names.MESSAGING_DESTINATION: names.OUTBOX,
        names.CONSUMER_GROUP: name,
    }


def _links(batch: Sequence[Conversion]) -> list[Link]:
    """Return a link to each span that submitted conversions of *batch*, up to 128."""
    from opentelemetry.trace import Link, get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()
    traceparents = dict.fromkeys(conversion.traceparent for conversion in batch)
    traceparents.pop(None, None)
    contexts = (
        get_current_span(propagator.extract({_TRACEPARENT: traceparent})).get_span_context()
        for traceparent in [*traceparents][:_MAX_LINKS]
    )
    return [Link(context) for context in contexts if context.is_valid]
