"""Whatever a service does, in whatever order: nothing is lost, and only bad conversions die."""

import anyio
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from anytrack_async.delivery.track_many import track_many
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Throttled,
    Unavailable,
)
from anytrack_async.events import Delivered
from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import FakeSink, World, sales
from tests.delivery.virtual_time import run_virtual
from tests.examples import examples

TROUBLES = (
    "fine",
    "down",
    "throttled",
    "held",
    "broken",
    "short",
    "again",
    "half",
    "half throttled",
    "cancels",
)


MAX_IDLE_CALLS = 500
"""Calls in a row in which the service takes nothing, after which a lane counts as standing still.
Probing takes some: with 39 conversions and one that makes the service crash, up to about 100."""


class Erratic:
    """A service that goes through *troubles*, then is fine.

    It always rejects *bad* conversions, and is unavailable for batches with *crash*.
    """

    def __init__(self, troubles, bad, crash):
        self.troubles = list(troubles)
        self.bad = bad
        self.crash = crash
        self.delivered = []
        self.idle_calls = 0
        self.limit = None

    async def __call__(self, batch):
        await anyio.lowlevel.checkpoint()
        before = len(self.delivered)
        try:
            return await self._answer(batch)
        finally:
            self.idle_calls = 0 if len(self.delivered) > before else self.idle_calls + 1
            if self.idle_calls > MAX_IDLE_CALLS:
                self.limit.cancel()

    async def _answer(self, batch):
        trouble = self.troubles.pop(0) if self.troubles else "fine"
        if trouble != "fine":
            return await self._fail(trouble, batch)
        if self.crash & set(batch):
            raise Unavailable("502")
        if self.bad & set(batch):
            raise BatchRejected("bad event")
        self.delivered += batch
        return [DELIVERED] * len(batch)

    async def _fail(self, trouble, batch):
        good = batch[0] not in self.bad | self.crash
        half = [DELIVERED if good else Outcome.rejected("bad event"), *[None] * (len(batch) - 1)]
        match trouble:
            case "down":
                raise Unavailable("503")
            case "throttled":
                raise Throttled("429", after=0.001)
            case "held":
                raise NeedsOperator("401")
            case "broken":
                raise ValueError
            case "short":
                return []
            case "again":
                return [Outcome.retry("locked", after=0.0)] * len(batch)
            case "cancels":
                raise anyio.get_cancelled_exc_class()
        self.delivered += batch[:1] if good else []
        raise (
            Unavailable("503", outcomes=half)
            if trouble == "half"
            else Throttled("429", after=0.001, outcomes=half)
        )


@given(
    count=st.integers(1, 40),
    batch=st.integers(1, 12),
    concurrency=st.integers(1, 3),
    troubles=st.lists(st.sampled_from(TROUBLES), max_size=25),
    bad=st.sets(st.integers(0, 40), max_size=3),
    crash=st.sets(st.integers(0, 40), max_size=1),
)
# Without shrinking: a lane that stands still does so in many examples, each of which takes long.
@settings(
    max_examples=examples(60), deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
def test_nothing_is_lost_and_only_bad_conversions_die(
    count, batch, concurrency, troubles, bad, crash
):
    bad, crash = {f"e{index}" for index in bad - crash}, {f"e{index}" for index in crash}
    submitted = {f"e{index}" for index in range(count)}
    assume(submitted - crash)
    service = Erratic(troubles, bad, crash)
    sink = FakeSink(answer=service, batch=batch, concurrency=concurrency)
    outcome = {}

    async def scenario(clock):
        world = World(
            sink,
            clock=clock,
            retry=Retry(attempts=40, base=0.001, cap=0.001),
            hold_probe=0.001,
            drain=0.2,
        )
        with anyio.CancelScope() as service.limit:
            async with world.open(leaves_undelivered=None if crash & submitted else False):
                reports = track_many(world.dispatcher, sales(count), to=None, at=None, in_flight=15)
                await wait_for_reports(reports, submitted - crash)
                outcome["dead"] = await world.dead()
                await reports.aclose()
        outcome["delivered"] = [
            event_id for event in world.events_of(Delivered) for event_id in event.event_ids
        ]

    run_virtual(scenario)

    assert service.idle_calls <= MAX_IDLE_CALLS, "the lane sends, but nothing is delivered"
    good = submitted - bad - crash
    assert set(service.delivered) == good
    assert outcome["dead"].keys() - crash == bad & submitted
    assert {outcome["dead"][event_id] for event_id in bad & submitted} <= {"bad event"}
    assert sorted(outcome["delivered"]) == sorted(good)


async def wait_for_reports(reports, event_ids):
    with anyio.fail_after(15):  # virtual seconds: a lane that sends nothing any more is there soon
        async for report in reports:
            event_ids -= {report.event_id}
            if not event_ids:
                return
