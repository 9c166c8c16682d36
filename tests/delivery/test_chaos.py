"""Whatever a service does, in whatever order: nothing is lost, and only what is bad dies."""

import anyio
import pytest
from hypothesis import assume, given, settings
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

pytestmark = pytest.mark.asyncio

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


class Erratic:
    """A service that goes through *troubles*, then is fine; *bad* ones it never takes."""

    def __init__(self, troubles, bad, crash):
        self.troubles = list(troubles)
        self.bad = bad
        self.crash = crash
        self.taken = []

    async def __call__(self, batch):
        await anyio.lowlevel.checkpoint()
        trouble = self.troubles.pop(0) if self.troubles else "fine"
        if trouble != "fine":
            return await self._fail(trouble, batch)
        if self.crash & set(batch):
            raise Unavailable("502")
        if self.bad & set(batch):
            raise BatchRejected("bad event")
        self.taken += batch
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
        self.taken += batch[:1] if good else []
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
@settings(max_examples=40, deadline=None)
async def test_nothing_is_lost_and_only_the_bad_die(
    count, batch, concurrency, troubles, bad, crash
):
    bad, crash = {f"e{at}" for at in bad - crash}, {f"e{at}" for at in crash}
    service = Erratic(troubles, bad, crash)
    sink = FakeSink(answer=service, batch=batch, concurrency=concurrency)
    world = World(
        sink,
        retry=Retry(attempts=40, base=0.001, cap=0.001),
        hold_probe=0.001,
        drain=0.2,
    )
    everyone = {f"e{at}" for at in range(count)}
    good = everyone - bad - crash
    assume(everyone - crash)
    async with world.open(leaving=None if crash & everyone else False):
        reports = track_many(world.dispatcher, sales(count), to=None, at=None, in_flight=15)
        seen = set()
        with anyio.fail_after(10):
            async for report in reports:
                seen.add(report.event_id)
                if seen >= everyone - crash:
                    break
        dead = await world.dead()
        await reports.aclose()

    assert set(service.taken) == good
    assert dead.keys() - crash == bad & everyone
    assert {dead[one] for one in bad & everyone} <= {"bad event"}
    told = [one for event in world.told(Delivered) for one in event.event_ids]
    assert sorted(told) == sorted(good)
