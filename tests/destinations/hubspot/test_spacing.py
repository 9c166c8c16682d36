"""The lane and the rate limiter distribute requests evenly over HubSpot's window."""

from bisect import bisect_left
from itertools import pairwise
from random import Random

import anyio
import attrs
import orjson
import pytest

from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.sink import HubSpotSink
from anytrack_async.events import Delivered
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import DeliverySettings
from tests.destinations.hubspot.virtual_time import run

LIMIT, INTERVAL = 100, 10.0  # the defaults of HubSpotSettings
ROUND_TRIP = 0.1
ON_THE_WIRE = 3 * ROUND_TRIP  # contacts, deals, links

# Thousands of conversions each, of which a few already run every line.
pytestmark = pytest.mark.untraced


@attrs.define
class Timeline:
    """Seconds from submit to delivered, and the time of each request."""

    delays: list[float] = attrs.field(factory=list)
    batches: list[tuple[float, int]] = attrs.field(factory=list)  # when, how many deals
    counted: list[float] = attrs.field(factory=list)
    ended: float = 0.0

    def delay(self, share: float = 1.0) -> float:
        """The longest delay of the fastest *share*, without the time on the wire."""
        return sorted(self.delays)[int(share * (len(self.delays) - 1))] - ON_THE_WIRE

    @property
    def peak(self) -> int:
        """The most requests within any ten seconds."""
        sent = self.counted
        return max(bisect_left(sent, start + INTERVAL) - n for n, start in enumerate(sent))


class SlowWire:
    """Passes requests on to the scripted wire after a round trip, and keeps their times."""

    def __init__(self, wire, timeline):
        self.wire, self.timeline = wire, timeline

    async def handle_async_request(self, request):
        now = anyio.current_time()
        if not request.url.path.endswith("/associate/default"):
            self.timeline.counted.append(now)
        if request.url.path.endswith("/deals/batch/upsert"):
            content = orjson.loads(await request.aread())
            self.timeline.batches.append((now, len(content["inputs"])))
        await anyio.sleep(ROUND_TRIP)
        return await self.wire.handle_async_request(request)

    async def aclose(self):
        await self.wire.aclose()


def sale(number):
    customer = Customer(email=f"user{number}@example.com")
    return Conversion.sale(event_id=f"e{number}", revenue=1, customer=customer)


@pytest.fixture
def deliver(wire, hs):
    """Deliver *arrivals*, pairs of second and number of conversions, and return the timeline."""

    async def live(arrivals, leave):
        timeline, accepted, clock = Timeline(), {}, anyio.current_time

        def notify(event):
            if isinstance(event, Delivered):
                timeline.delays += [clock() - accepted[event_id] for event_id in event.event_ids]

        sink = HubSpotSink(
            HubSpotSettings(access_token=hs.TOKEN), transport=SlowWire(wire, timeline)
        )
        outbox = MemoryOutbox(10**6, clock=clock)
        settings = DeliverySettings(drain=100.0)
        async with Dispatcher(outbox, [sink], settings, notify=notify, clock=clock) as dispatcher:
            for second, count in arrivals:
                await anyio.sleep(second - clock())
                batch = [sale(len(accepted) + number) for number in range(count)]
                accepted |= {conversion.event_id: clock() for conversion in batch}
                await dispatcher.submit(batch)
            # Closing would hurry the lane: wait as a service that goes on does.
            while not leave and len(timeline.delays) < len(accepted):  # noqa: ASYNC110
                await anyio.sleep(ROUND_TRIP)
        timeline.ended = clock()
        assert len(timeline.delays) == len(accepted)
        return timeline

    return lambda arrivals, leave=False: run(live(arrivals, leave))


def trickle(rate, until=30.0, start=0.0):
    """Return single arrivals at random times, *rate* a second on average."""
    random, now = Random(rate), start
    while (now := now + random.expovariate(rate)) < until:
        yield now, 1


def test_a_single_conversion_is_sent_at_once(deliver):
    timeline = deliver([(5.0, 1), (15.0, 1), (16.0, 1)])

    assert timeline.delay() == pytest.approx(0.0)


@pytest.mark.parametrize("rate", [3, 25, 300])
def test_a_trickle_waits_a_third_of_a_second_and_leaves_a_third_of_the_limit(deliver, rate):
    timeline = deliver(trickle(rate))

    assert timeline.delay(0.95) < 0.31
    assert timeline.delay() < 0.35
    assert timeline.peak <= 90
    assert len(timeline.counted) <= 240  # eager lanes use up all 300


def test_a_trickle_becomes_batches_of_one_size_evenly_spaced(deliver):
    timeline = deliver((number / 25, 1) for number in range(30 * 25))

    times = [moment for moment, _ in timeline.batches]
    assert all(0.25 < b - a < 0.35 for a, b in pairwise(times))
    assert {count for _, count in timeline.batches[2:-1]} <= {7, 8}


def test_full_batches_use_up_the_whole_limit(deliver):
    timeline = deliver([(0.0, 10_000)])

    windows = [bisect_left(timeline.counted, 10.2 * number) for number in (1, 2)]
    assert windows == [100, 200]
    assert {count for _, count in timeline.batches} == {100}
    assert timeline.peak == LIMIT
    assert timeline.ended < 10.2 + 3.0


def test_nearly_full_load_waits_less_than_a_window(deliver):
    timeline = deliver(trickle(450))

    assert timeline.delay() < 4.0
    assert timeline.peak <= LIMIT


def test_a_burst_is_sent_at_once(deliver):
    assert deliver([(0.0, 600)]).delay() == pytest.approx(0.0)


def test_a_burst_within_a_trickle_finds_room(deliver):
    timeline = deliver(sorted([*trickle(25), (15.0, 600)]))

    assert timeline.delay() < 0.4


def test_after_a_burst_the_remaining_limit_is_spread(deliver):
    timeline = deliver([(0.0, 4_000), *trickle(25)])

    assert timeline.peak <= LIMIT
    assert timeline.delay() < 2.0  # eager lanes let the last ones wait for eight seconds


def test_closing_does_not_wait_for_a_fuller_batch(deliver):
    timeline = deliver([(0.0, 1), (0.01, 1)], leave=True)

    assert timeline.ended == pytest.approx(0.01 + ON_THE_WIRE)
    assert timeline.peak == 4


def test_a_batch_after_a_full_batch_is_sent_at_once(deliver):
    timeline = deliver([(0.0, 150)])

    assert timeline.delay() == pytest.approx(0.0)
    assert sorted(count for _, count in timeline.batches) == [50, 100]
