"""Metrics of an outbox and of a client, as families of `prometheus_client`.

The metrics of the outbox are read from the outbox itself. So with an outbox that processes share,
they are right whichever process is asked, and right while no process delivers.

| metric | type | labels |
|---|---|---|
| ``anytrack_outbox_waiting`` | gauge | destination |
| ``anytrack_outbox_in_flight`` | gauge | destination |
| ``anytrack_outbox_retrying`` | gauge | destination |
| ``anytrack_outbox_dead`` | gauge | destination |
| ``anytrack_outbox_oldest_age_seconds`` | gauge | destination |
| ``anytrack_delivered_total`` | counter | destination |
| ``anytrack_paused_since_timestamp_seconds`` | gauge, while paused | destination, by |
| ``anytrack_lane_state`` | gauge, 1 for the present state | destination, state |
| ``anytrack_submitted_total``, ``anytrack_contradicted_total`` | counter | |
| ``anytrack_retried_total`` | counter | destination |
| ``anytrack_dead_lettered_total``, ``anytrack_dropped_total`` | counter | destination |
| ``anytrack_skipped_total`` | counter | destination |

The rows from the state of a lane on are those of one client, and counted since it was created.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from anytrack_async.client.stats import Stats
from anytrack_async.delivery.flow import LaneState
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Depth, Outbox
from anytrack_async.outbox.capabilities import CountsDelivered, oldest_ages
from anytrack_async.outbox.pauses import Pause, read_pauses

if TYPE_CHECKING:
    from prometheus_client import Metric

_DEPTHS = {
    "waiting": "Conversions not delivered yet, including those in flight and retrying.",
    "in_flight": "Waiting conversions that are being sent now.",
    "retrying": "Waiting conversions that failed and will be attempted again.",
    "dead": "Dead letters: conversions that the destination will never accept as they are.",
}

_COUNTERS = {
    "retried": "Times a conversion went back to the outbox, in this process.",
    "dead_lettered": "Conversions that became dead letters, in this process.",
    "dropped": "Conversions that a destination does not get, in this process.",
    "skipped": "Conversions that a destination does not get by their visitors' consent.",
}


@attrs.frozen(kw_only=True)
class Backlog:
    """The depths and counts of an outbox's destinations, read at one moment.

    Attributes:
        depths: destination → its depth.
        ages: destination → seconds since its oldest waiting conversion was accepted.
        delivered: destination → how many conversions it has received; empty if the outbox does not
            count them.
        pauses: destination → its pause, of those that an operator has paused.
    """

    depths: Mapping[str, Depth]
    ages: Mapping[str, float]
    delivered: Mapping[str, int]
    pauses: Mapping[str, Pause] = attrs.field(factory=dict)


async def read_backlog(outbox: Outbox) -> Backlog:
    """Return the backlog of *outbox*, which is open.

    Raises:
        OutboxError: it cannot be read.
    """
    counts = await outbox.delivered_counts() if isinstance(outbox, CountsDelivered) else {}
    depths = await outbox.depths()
    return Backlog(
        depths=depths,
        ages=await oldest_ages(outbox),
        delivered=counts,
        pauses=await read_pauses(outbox, depths),
    )


def exposition(backlog: Backlog, stats: Stats | None = None) -> bytes:
    """Return the metrics in Prometheus's text format.

    Args:
        backlog: depths and counts of the outbox.
        stats: the counters and lanes of a client, if there is one.

    Raises:
        ConfigurationError: ``prometheus-client`` is not installed.
    """
    client = require_prometheus()
    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(_Families([*_outbox_families(backlog), *_client_families(stats)]))
    text: bytes = client.generate_latest(registry)
    return text


def require_prometheus() -> Any:
    """Return the module ``prometheus_client``.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import prometheus_client
    except ImportError:
        raise ConfigurationError(
            "metrics need the package prometheus-client: pip install 'anytrack_async[metrics]'"
        ) from None
    return prometheus_client


class _Families:
    """A collector of `prometheus_client` that returns families which exist already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _outbox_families(backlog: Backlog) -> Iterable[Metric]:
    for name, text in _DEPTHS.items():
        values = {key: getattr(depth, name) for key, depth in backlog.depths.items()}
        yield _gauge(f"anytrack_outbox_{name}", text, values)
    # 0 where nothing waits: an absent series would leave an alert on its last value.
    ages = dict.fromkeys(backlog.depths, 0.0) | {**backlog.ages}
    text = "Seconds since the oldest waiting conversion was accepted; 0 if none waits."
    yield _gauge("anytrack_outbox_oldest_age_seconds", text, ages)
    if backlog.delivered:
        text = "Conversions that the destination has received, from all processes."
        yield _counter("anytrack_delivered", text, backlog.delivered)
    yield _pauses(backlog.pauses)


def _pauses(pauses: Mapping[str, Pause]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    text = "When an operator paused the destination, and who; absent while it is not paused."
    family = GaugeMetricFamily(
        "anytrack_paused_since_timestamp_seconds", text, labels=["destination", "by"]
    )
    for name, pause in pauses.items():
        family.add_metric([name, pause.by], pause.since)
    return family


def _client_families(stats: Stats | None) -> Iterable[Metric]:
    if stats is None:
        return
    destinations = stats.destinations
    for name, text in _COUNTERS.items():
        counts = {key: getattr(item, name) for key, item in destinations.items()}
        yield _counter(f"anytrack_{name}", text, counts)
    text = "New conversions accepted, in this process."
    yield _total("anytrack_submitted", text, stats.submitted)
    text = "Repeats with another type, amount or currency than the first, in this process."
    yield _total("anytrack_contradicted", text, stats.contradicted)
    yield _lane_states(stats)


def _lane_states(stats: Stats) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    text = "1 for the present state of the lane in this process, 0 for the others."
    family = GaugeMetricFamily("anytrack_lane_state", text, labels=["destination", "state"])
    for name, item in stats.destinations.items():
        if item.state is not None:
            for state in LaneState:
                family.add_metric([name, state.value], float(item.state is state))
    return family


def _gauge(name: str, text: str, values: Mapping[str, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=["destination"])
    for destination, value in values.items():
        family.add_metric([destination], value)
    return family


def _counter(name: str, text: str, values: Mapping[str, int]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, text, labels=["destination"])
    for destination, value in values.items():
        family.add_metric([destination], value)
    return family


def _total(name: str, text: str, value: int) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, text, value=value)
