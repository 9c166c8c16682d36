"""A destination that throttles without asking for a wait: how many requests it gets, by the hour.

Time is virtual, so that a lane without a floor under its pauses sends without end.
"""

import math

import anyio
import pytest

from anytrack_async.destinations.sink import Throttled, Unavailable
from anytrack_async.events import LaneThrottled
from anytrack_async.models.outcome import Outcome
from anytrack_async.settings.delivery import DeliverySettings
from tests.delivery.doubles import FakeSink, World, sales, statuses
from tests.delivery.virtual_time import run_virtual

pytestmark = pytest.mark.untraced

HOUR = 3_600.0
MAX_CALLS = 2_000
"""After which a test fails at once instead of running for ever."""


class Throttling:
    """Answers as *answer* does to every batch, until `healthy`."""

    def __init__(self, answer):
        self._answer = answer
        self.healthy = False
        self.calls = 0

    async def __call__(self, batch):
        await anyio.sleep(0.01)
        if self.healthy:
            return None
        self.calls += 1
        assert self.calls < MAX_CALLS
        return self._answer(batch)


def throttled(after):
    def answer(_):
        raise Throttled("429 Too Many Requests", after=after)

    return answer


def unavailable(_):
    raise Unavailable("503 Service Unavailable")


def retries(after):
    return lambda batch: [Outcome.retry("503", after=after) for _ in batch]


def calls_within(answer, *, seconds=HOUR, conversions=100, batch=10, concurrency=1, **changes):
    """Return how many requests a destination gets, before and after it takes conversions again."""
    service = Throttling(answer)
    sink = FakeSink(answer=service, batch=batch, concurrency=concurrency)
    failing_calls = 0

    async def scenario(clock):
        nonlocal failing_calls
        world = World(sink, clock=clock, settings=DeliverySettings(drain=HOUR, **changes))
        with anyio.fail_after(10 * HOUR):
            async with world.dispatcher:
                deliveries = await world.submit(*sales(conversions))
                await anyio.sleep(seconds)
                failing_calls = service.calls
                service.healthy = True
                for delivery in deliveries:
                    await delivery
        assert {statuses(delivery)["anytrack"] for delivery in deliveries} == {"delivered"}
        assert len(world.events_of(LaneThrottled)) <= 1

    run_virtual(scenario)
    return failing_calls


@pytest.mark.parametrize("after", [0.0, -1.0, 1e-6, math.nan, -math.inf])
@pytest.mark.parametrize("concurrency", [1, 6])
def test_a_lane_backs_off_from_a_destination_that_asks_for_no_wait(after, concurrency):
    calls = calls_within(throttled(after), concurrency=concurrency)

    # The growing pauses take about six requests, then one goes every 15 s on average. Each time,
    # other workers may have sent before the response arrives.
    assert calls < 400 * concurrency


def test_the_first_second_has_few_requests():
    assert calls_within(throttled(0.0), seconds=1.0) < 30


@pytest.mark.parametrize("batch", [1, 10])
def test_a_longer_request_counts(batch):
    assert calls_within(throttled(60.0), batch=batch) <= 61


@pytest.mark.parametrize("after", [1e6, 1e308, math.inf])
def test_a_destination_that_asks_to_wait_for_years_is_asked_again(after):
    # Every five minutes. Its conversions are delivered soon after it works again.
    assert 11 <= calls_within(throttled(after)) <= 13


def test_a_destination_that_is_unavailable_gets_no_more():
    assert calls_within(unavailable) < 400


@pytest.mark.parametrize("after", [0.0, -1.0, math.nan])
def test_a_conversion_to_be_retried_at_once_waits_for_its_backoff(after):
    # One conversion a batch: the service asks to retry each by itself. With waits of up to 1, 2,
    # … 64 s, seven attempts fit into two minutes; without, all eight were over in a moment.
    calls = calls_within(retries(after), seconds=1.0, conversions=1, batch=1)

    assert calls <= 5
