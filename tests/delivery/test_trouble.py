"""What a lane does when its destination, its sink or its outbox is in trouble."""

import itertools
import logging

import anyio
import attrs
import pytest

from anytrack_async.delivery import LaneState
from anytrack_async.errors import OutboxError
from anytrack_async.events import (
    DeadLettered,
    Delivered,
    LaneDown,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    Retried,
)
from anytrack_async.models import DELIVERED, Outcome
from anytrack_async.outbox import MemoryOutbox
from anytrack_async.settings import Retry
from anytrack_async.sinks.base import BatchRejected, CredentialsRejected, Throttled, Unavailable
from tests.delivery.doubles import Clock, FakeSink, Gatekeeper, World, calm, sale, sales

pytestmark = pytest.mark.asyncio


class Service:
    """An `answer` that can be put out of order: `trouble` is raised while it is set."""

    def __init__(self, trouble=None, poison=()):
        self.trouble = trouble
        self.poison = set(poison)

    def __call__(self, batch):
        if self.trouble is not None:
            raise self.trouble
        if self.poison & set(batch):
            raise Unavailable("502 bad gateway")


# Down


async def test_a_destination_that_is_down_gets_one_probe_of_one_conversion_at_a_time():
    clock = Clock()
    sink = FakeSink(answer=Service(Unavailable("503")), batch=10, concurrency=4)
    world = World(sink, clock=clock, probe=Retry(base=10.0, cap=10.0))
    async with world.open():
        handles = await world.submit(*sales(100))
        await world.until(lambda: world.dispatcher.states()["anytrack"] is LaneState.DOWN)
        await calm()
        before = len(sink.calls)
        sink.peak = 0
        for _ in range(20):
            clock.now += 10
            world.dispatcher.wake()
            await calm()
        probes = sink.calls[before:]
        assert len(probes) == 20
        assert {len(probe) for probe in probes} == {1}
        assert sink.peak == 1

        sink.answer = Service()
        clock.now += 10
        world.dispatcher.wake()
        await calm()
        clock.now += 10
        world.dispatcher.wake()
        for handle in handles:
            await handle

    assert [type(one) for one in world.events if type(one) in (LaneDown, LaneResumed)] == [
        LaneDown,
        LaneResumed,
    ]
    assert not world.told(DeadLettered)


async def test_those_who_wait_can_see_why():
    sink = FakeSink("meta", Service(Unavailable("503 from Meta", code="2")))
    clock = Clock()
    world = World(sink, clock=clock)
    async with world.open():
        (handle, other) = await world.submit(*sales(2))
        await world.until(lambda: world.told(Retried))
        await calm()
        outcomes = [one.report.outcomes["meta"] for one in (handle, other)]
        sink.answer = Service()
        clock.now += 3600
        world.dispatcher.wake()

    assert {(str(one.status), one.error, one.code) for one in outcomes} == {
        ("waiting", "503 from Meta", "2")
    }


async def test_attempts_made_while_it_is_down_do_not_count():
    clock = Clock()
    sink = FakeSink(answer=Service(Unavailable("503")), batch=10)
    world = World(sink, clock=clock)
    async with world.open():
        handles = await world.submit(*sales(3))
        for _ in range(100):
            clock.now += 60
            world.dispatcher.wake()
            await calm()
        assert len(sink.calls) > 50

        sink.answer = Service()
        clock.now += 60
        world.dispatcher.wake()
        reports = [await handle for handle in handles]

    assert max(report.outcomes["anytrack"].attempts for report in reports) <= 4
    assert not world.told(DeadLettered)


@pytest.mark.parametrize("poison", [1, 5])
async def test_probes_do_not_stick_to_what_breaks_the_service(poison):
    # Alone in the lane it looks as if the service were down; then others come.
    clock = Clock()
    bad = sales(poison, "bad")
    sink = FakeSink(answer=Service(poison=[one.event_id for one in bad]), batch=10)
    patient = Retry(attempts=8, base=1.0, cap=2.0)
    world = World(sink, clock=clock, retry=patient, probe=patient)
    async with world.open():
        await world.submit(*bad)
        while world.dispatcher.states()["anytrack"] is not LaneState.DOWN:
            clock.now += 1
            world.dispatcher.wake()
            await calm()
        handles = await world.submit(*sales(3))
        while not all(handle.done() for handle in handles):
            clock.now += 1
            world.dispatcher.wake()
            await calm()
        while len(world.told(DeadLettered)) < poison:
            clock.now += 0.5
            await world.submit(sale(f"f{clock.now}"))
            await calm()

    assert sorted(event.event_id for event in world.told(DeadLettered)) == sorted(
        one.event_id for one in bad
    )
    assert "502 bad gateway" in world.told(DeadLettered)[0].reason


@pytest.mark.parametrize("poison", [["e0"], ["e17"], ["e99"], ["e3", "e4", "e60"]])
async def test_what_makes_the_service_crash_dies_alone(poison):
    sink = FakeSink(answer=Service(poison=poison), batch=100)
    world = World(sink)
    async with world.open():
        handles = await world.submit(*sales(100))
        good = [handle for handle in handles if handle.event_id not in poison]
        for handle in good:
            await handle
        while len(world.told(DeadLettered)) < len(poison):
            await world.submit(sale(f"more{len(sink.calls)}"))
            await anyio.sleep(0.001)

    assert sorted(event.event_id for event in world.told(DeadLettered)) == poison
    assert not set(poison) & set(sink.taken)


async def test_a_batch_that_fails_too_often_is_dead_with_the_last_reason():
    reasons = ["502", "503"]

    def answer(_):
        raise Unavailable(reasons.pop(0), code="E9")

    world = World(FakeSink(answer=answer), retry=Retry(attempts=2, base=0.001))
    async with world.open():
        reports = await world.deliver(*sales(3))
        dead = await world.dead()

    assert dead == dict.fromkeys(["e0", "e1", "e2"], "given up after 2 attempts and 0.0 h: 503")
    assert {report.outcomes["anytrack"].code for report in reports} == {"E9"}


async def test_failures_with_deliveries_between_do_not_stop_the_lane():
    fails = 0

    def answer(batch):
        nonlocal fails
        if "bad" in batch and fails < 5:
            fails += 1
            raise Unavailable("503")

    world = World(FakeSink(answer=answer, batch=1))
    async with world.open():
        (bad,) = await world.submit(sale("bad"))
        while not bad.done():
            await world.deliver(sale(f"good{len(world.events)}"))

    assert not world.told(LaneDown)


async def test_a_failed_batch_waits_longer_with_every_attempt():
    # Others that pass must not make it use up its attempts within a second.
    clock = Clock()
    sink = FakeSink(answer=Service(poison=["bad"]), batch=1)
    world = World(sink, clock=clock, retry=Retry(attempts=8, base=64.0, cap=4096.0))
    async with world.open():
        await world.submit(sale("bad"))
        await calm()
        for number in range(600):
            clock.now += 1
            await world.submit(sale(f"good{number}"))
            await calm()
            if world.told(DeadLettered):
                break
        sink.answer = Service()
        clock.now += 10_000
        world.dispatcher.wake()

    waits = [event.seconds for event in world.told(Retried)]
    assert len(waits) < 8
    assert max(waits) > 60


async def test_part_of_a_batch_that_was_taken_before_the_service_broke_is_settled():
    def answer(batch):
        if len(batch) == 3:
            raise Unavailable("503", outcomes=[DELIVERED, None, None])

    sink = FakeSink(answer=answer)
    world = World(sink)
    async with world.open():
        reports = await world.deliver(*sales(3))

    assert [report.outcomes["anytrack"].attempts for report in reports] == [1, 2, 2]
    assert sink.calls == [["e0", "e1", "e2"], ["e1", "e2"]]
    assert [event.event_ids for event in world.told(Retried)] == [["e1", "e2"]]


async def test_a_service_that_asks_to_try_everything_again_is_down():
    sink = FakeSink(answer=lambda batch: [Outcome.retry("503")] * len(batch), batch=10)
    clock = Clock()
    world = World(sink, clock=clock, retry=Retry(attempts=8, base=60.0, cap=60.0))
    async with world.open():
        await world.submit(*sales(100))
        await world.until(lambda: world.told(LaneDown))
        await calm()
        assert len(sink.calls) < 10
        sink.answer = Service()
        clock.now += 3600
        world.dispatcher.wake()

    assert len(sink.taken) == 100


# Throttled


async def test_a_throttled_lane_pauses_and_counts_no_attempt():
    clock = Clock()
    sink = FakeSink(answer=Service(Throttled("slow down", after=30.0)), batch=10)
    world = World(sink, clock=clock)
    async with world.open():
        handles = await world.submit(*sales(20))
        for _ in range(20):
            await calm()
            clock.now += 30
            world.dispatcher.wake()
        await calm()
        assert len(sink.calls) == 21
        assert world.dispatcher.states()["anytrack"] is LaneState.THROTTLED

        clock.now += 29
        world.dispatcher.wake()
        await calm()
        assert len(sink.calls) == 21

        sink.answer = Service()
        clock.now += 1
        world.dispatcher.wake()
        reports = [await handle for handle in handles]

    assert {report.outcomes["anytrack"].attempts for report in reports} == {1}
    assert [type(one) for one in world.events if type(one) in (LaneThrottled, LaneResumed)] == [
        LaneThrottled,
        LaneResumed,
    ]
    assert {event.seconds for event in world.told(Retried)} == {30.0}


async def test_what_was_taken_before_the_service_throttled_is_settled():
    def answer(batch):
        if len(batch) == 3:
            raise Throttled("slow down", after=0.01, outcomes=[DELIVERED, None, None])

    sink = FakeSink(answer=answer)
    world = World(sink)
    async with world.open():
        reports = await world.deliver(*sales(3))

    assert [report.outcomes["anytrack"].attempts for report in reports] == [1, 1, 1]
    assert sink.calls[1:] == [["e1", "e2"]]


async def test_resume_ends_a_pause_at_once():
    sink = FakeSink(answer=Service(Throttled("slow down", after=3600.0)))
    world = World(sink, clock=Clock())
    async with world.open():
        (handle,) = await world.submit(sale("a"))
        await world.until(lambda: world.told(LaneThrottled))
        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await handle


# Held


async def test_refused_credentials_hold_the_lane_and_lose_nothing():
    clock = Clock()
    sink = FakeSink(
        answer=Service(CredentialsRejected("token expired", code="190")), batch=10, concurrency=4
    )
    world = World(sink, clock=clock, max_age=3600.0, hold_probe=300.0)
    async with world.open():
        handles = await world.submit(*sales(100))
        await world.until(lambda: world.told(LaneHeld))
        await calm()
        before = len(sink.calls)
        for _ in range(30):  # longer than the age at which conversions are given up
            clock.now += 300
            world.dispatcher.wake()
            await calm()
        assert len(sink.calls) == before + 30
        assert {len(call) for call in sink.calls[before:]} == {1}
        assert world.dispatcher.states()["anytrack"] is LaneState.HELD

        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        reports = [await handle for handle in handles]

    assert all(report.delivered for report in reports)
    assert [event.reason for event in world.told(LaneHeld)] == ["token expired"]
    assert not world.told(DeadLettered)


async def test_a_held_lane_goes_on_by_itself_once_a_probe_is_taken():
    clock = Clock()
    sink = FakeSink(answer=Service(CredentialsRejected("token expired")))
    world = World(sink, clock=clock, hold_probe=300.0)
    async with world.open():
        handles = await world.submit(*sales(5))
        await world.until(lambda: world.told(LaneHeld))
        sink.answer = Service()
        clock.now += 300
        world.dispatcher.wake()
        for handle in handles:
            await handle

    assert [len(call) for call in sink.calls] == [5, 1, 4]
    assert len(world.told(LaneHeld)) == len(world.told(LaneResumed)) == 1


async def test_the_operator_is_told_once_though_earlier_requests_still_succeed():
    late = Gatekeeper()

    async def answer(batch):
        if batch == ["e0"]:
            await late([])
        else:
            raise CredentialsRejected("token expired")

    sink = FakeSink(answer=answer, batch=1, concurrency=3)
    world = World(sink, clock=Clock(), drain=0.01)
    async with world.open(leaving=True):
        (first, *_) = await world.submit(*sales(5))
        await world.until(lambda: world.told(LaneHeld))
        late.open()
        await first
        await calm()
        assert world.dispatcher.states()["anytrack"] is LaneState.HELD

    assert len(world.told(LaneHeld)) == 1
    assert not world.told(LaneResumed)


async def test_what_a_held_lane_gave_back_goes_first_after_resume():
    sink = FakeSink(answer=Service(CredentialsRejected("token expired")), batch=2)
    world = World(sink, clock=Clock(), hold_probe=300.0)
    async with world.open():
        await world.submit(*sales(4))
        await world.until(lambda: world.told(LaneHeld))
        await calm()
        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await world.until(lambda: len(sink.taken) == 4)

    assert sink.taken == ["e0", "e1", "e2", "e3"]


# One bad conversion


async def test_a_poison_among_a_thousand_is_the_only_dead_letter():
    def answer(batch):
        if "e617" in batch:
            raise BatchRejected("event_time too old", code="2804003")

    sink = FakeSink(answer=answer, batch=1000)
    world = World(sink)
    async with world.open():
        handles = await world.submit(*sales(1000))
        for handle in handles:
            await handle
        dead = await world.dead()

    assert dead == {"e617": "event_time too old"}
    assert len(sink.taken) == 999
    assert len(sink.calls) < 30
    (letter,) = world.told(DeadLettered)
    assert (letter.event_id, letter.code) == ("e617", "2804003")
    assert sum(len(event.event_ids) for event in world.told(Delivered)) == 999


async def test_the_lease_is_kept_while_a_poison_is_looked_for():
    clock = Clock()

    def answer(batch):
        clock.now += 40
        if "e7" in batch:
            raise BatchRejected("bad event")

    sink = FakeSink(answer=answer, concurrency=2)
    world = World(sink, clock=clock, lease=100.0)
    async with world.open():
        for handle in await world.submit(*sales(16)):
            await handle

    assert len(sink.taken) == 15
    assert len(set(sink.taken)) == 15


async def test_the_search_for_a_poison_keeps_to_the_rate():
    sent = []

    def answer(batch):
        sent.append(anyio.current_time())
        if "e3" in batch:
            raise BatchRejected("bad event")

    world = World(FakeSink(answer=answer, rate=100))
    async with world.open():
        for handle in await world.submit(*sales(4)):
            await handle

    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert len(gaps) == 4
    assert min(gaps) > 0.008


async def test_the_search_for_a_poison_ends_when_the_lane_is_stopped():
    both = Gatekeeper()

    async def answer(batch):
        if len(sink.calls) == 2:
            both.open()
        await both([])
        if "a3" in batch:
            await calm()  # the other one's answer comes first
            raise BatchRejected("bad event")
        raise Throttled("slow down", after=30.0)

    sink = FakeSink(answer=answer, batch=4, concurrency=2)
    world = World(sink, clock=Clock())
    async with world.open():
        await world.submit(*sales(4, "a"), *sales(4, "b"))
        await world.until(lambda: len(world.told(Retried)) == 2)
        await calm()
        assert len(sink.calls) == 2

        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await world.until(lambda: len(sink.taken) == 8)

    assert not world.told(DeadLettered)


async def test_a_probe_that_fails_is_told_of_itself_alone():
    sink = FakeSink(answer=Service(CredentialsRejected("token expired")), batch=10)
    clock = Clock()
    world = World(sink, clock=clock, hold_probe=300.0)
    async with world.open():
        await world.submit(*sales(10))
        await world.until(lambda: world.told(LaneHeld))
        clock.now += 300
        world.dispatcher.wake()
        await world.until(lambda: len(world.told(Retried)) == 2)
        sink.answer = Service()
        world.dispatcher.resume("anytrack")

    batch, probe = world.told(Retried)[:2]
    assert len(batch.event_ids) == 10
    assert list(probe.event_ids) == sink.calls[1]
    assert probe.seconds == 300.0


# Sinks


@pytest.mark.parametrize("count", [0, 2])
async def test_a_sink_that_answers_the_wrong_number_is_tried_again(count):
    answers = [[DELIVERED] * count, None]
    world = World(FakeSink(answer=lambda _: answers.pop(0)))
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.outcomes["anytrack"].attempts == 2
    assert "one outcome for each" in world.told(Retried)[0].reason


async def test_no_text_of_a_sinks_exception_is_kept_or_logged(caplog):
    caplog.set_level(logging.DEBUG)
    sink = FakeSink(answer=Service(ValueError("token=s3cret jane@example.com")))
    world = World(sink, retry=Retry(attempts=1))
    async with world.open():
        (report,) = await world.deliver(sale("a"))
        dead = await world.dead()

    told = f"{report} {dead} {world.events} {caplog.text}"
    assert "ValueError" in told
    assert "s3cret" not in told
    assert "jane" not in told


async def test_a_sink_that_hangs_longer_than_its_share_of_the_lease_is_tried_again():
    hangs = [True]

    async def answer(_):
        if hangs:
            hangs.pop()
            await anyio.sleep_forever()

    world = World(FakeSink(answer=answer), lease=0.05)
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert world.told(Retried)[0].reason == "no answer within 0.04 s"


async def test_a_sink_that_cancels_itself_does_not_cost_a_worker():
    async def answer(_):
        raise anyio.get_cancelled_exc_class()

    sink = FakeSink(answer=answer)
    world = World(sink)
    async with world.open():
        (handle,) = await world.submit(sale("a"))
        await world.until(lambda: world.told(Retried))
        sink.answer = Service()
        await handle


# The outbox


class Shaky(MemoryOutbox):
    """Fails the next calls of what is in `failing`: method name → how often, and with what."""

    def __init__(self, **options):
        super().__init__(**options)
        self.failing = {}
        self.asked = []

    async def _maybe(self, name):
        self.asked.append(name)
        if self.failing.get(name, 0) > 0:
            self.failing[name] -= 1
            raise self.exc

    exc = OutboxError("database is locked")

    async def claim(self, destination, limit, lease):
        await self._maybe("claim")
        return await super().claim(destination, limit, lease)

    async def settle(self, claim, setbacks=()):
        await self._maybe("settle")
        return await super().settle(claim, setbacks)

    async def release(self, claim, *, due, tried):
        await self._maybe("release")
        return await super().release(claim, due=due, tried=tried)

    async def renew(self, claim, lease):
        await self._maybe("renew")
        return await super().renew(claim, lease)

    async def depths(self):
        await self._maybe("depths")
        return await super().depths()


@pytest.mark.parametrize("exc", [OutboxError("database is locked"), OSError("jane@example.com")])
async def test_a_claim_that_fails_is_logged_and_tried_again(caplog, exc):
    outbox = Shaky()
    outbox.failing, outbox.exc = {"claim": 3}, exc
    world = World(outbox=outbox)
    async with world.open():
        await world.deliver(sale("a"))

    assert caplog.text.count("cannot read the outbox") == 3
    assert "jane" not in caplog.text


@pytest.mark.parametrize("exc", [OutboxError("database is locked"), OSError("jane@example.com")])
async def test_what_cannot_be_settled_is_sent_once_more_when_its_lease_ends(caplog, exc):
    outbox = Shaky()
    outbox.failing, outbox.exc = {"settle": 1}, exc
    world = World(outbox=outbox, lease=0.15)
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert world.sinks[0].taken == ["a", "a"]
    assert "cannot settle in the outbox" in caplog.text
    assert "jane" not in caplog.text


async def test_what_cannot_be_given_back_comes_back_when_its_lease_ends(caplog):
    outbox = Shaky()
    outbox.failing = {"release": 1}
    trouble = [OSError(), None]

    def answer(_):
        if exc := trouble.pop(0):
            raise exc

    world = World(FakeSink(answer=answer), outbox=outbox, lease=0.15)
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert not world.told(Retried)
    assert "cannot give back to the outbox" in caplog.text


async def test_a_lease_that_cannot_be_renewed_ends_the_search_for_a_poison(caplog):
    outbox = Shaky()
    outbox.failing = {"renew": 1}

    def answer(batch):
        if "e1" in batch:
            raise BatchRejected("bad event")

    world = World(FakeSink(answer=answer), outbox=outbox)
    async with world.open():
        for handle in await world.submit(*sales(4)):
            await handle
        dead = await world.dead()

    assert dead == {"e1": "bad event"}
    assert world.sinks[0].taken.count("e0") == 1
    assert world.told(Retried)[0].reason == "not sent: the lane was stopped, or the lease lost"
    assert "cannot renew a lease in the outbox" in caplog.text


async def test_a_lease_that_was_lost_settles_nothing_and_tells_nothing(caplog):
    class Lost(MemoryOutbox):
        losses = 1

        async def settle(self, claim, setbacks=()):
            if Lost.losses:
                Lost.losses -= 1
                await super().release(claim, due=0.0, tried=True)
                return False
            return await super().settle(claim, setbacks)

    answers = [[Outcome.rejected("no")], None]
    world = World(FakeSink(answer=lambda _: answers.pop(0)), outbox=Lost())
    async with world.open():
        (report,) = await world.deliver(sale("a"))

    assert report.delivered
    assert not world.told(DeadLettered)
    assert len(world.told(Delivered)) == 1
    assert "took over 1 conversions" in caplog.text


async def test_a_claim_that_came_while_the_lane_was_stopped_is_given_back():
    answers = Gatekeeper()

    class Slow(Shaky):
        slow = None

        async def claim(self, destination, limit, lease):
            claim = await super().claim(destination, limit, lease)
            if claim.entries and claim.entries[0].conversion.event_id == "e1":
                answers.open()
                await calm()  # the other worker hears that the service throttles
            return claim

    async def answer(batch):
        if batch == ["e0"]:
            await answers([])
            raise Throttled("slow down", after=30.0)

    clock = Clock()
    outbox = Slow(clock=clock)
    sink = FakeSink(answer=answer, batch=1, concurrency=2)
    world = World(sink, outbox=outbox, clock=clock)
    async with world.open():
        await world.submit(*sales(2))
        await world.until(lambda: world.told(LaneThrottled))
        await calm()
        assert sink.calls == [["e0"]]
        depth = (await outbox.depths())["anytrack"]
        assert (depth.waiting, depth.in_flight) == (2, 0)

        sink.answer = Service()
        world.dispatcher.resume("anytrack")
        await world.until(lambda: len(sink.taken) == 2)


async def test_a_look_at_what_is_due_does_not_spin():
    class Behind(MemoryOutbox):
        claims = 0

        async def claim(self, destination, limit, lease):
            Behind.claims += 1
            claim = await super().claim(destination, limit, lease)
            return claim if claim.entries else attrs.evolve(claim, next_due=0.0)

    world = World(outbox=Behind(), drain=0.0)
    async with world.open():
        await anyio.sleep(0.03)
        assert Behind.claims < 60
