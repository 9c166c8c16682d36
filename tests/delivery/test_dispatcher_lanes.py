"""Which lanes are woken by accepted conversions."""

import collections

import attrs
import pytest

from anytrack_async.delivery.dispatcher import Lanes
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from tests.delivery.doubles import QUICK, FakeSink, World, sale


class FakeLane:
    def __init__(self):
        self.woken = 0

    def wake(self, accepted=0):
        self.woken += 1


@attrs.frozen
class Kind:
    """The properties of an outbox that decide which lanes are woken."""

    shared: bool = True
    capacity: int = 100_000


def make_lanes(kind=Kind()):
    lanes = Lanes(kind)
    lanes.update(meta=FakeLane(), hubspot=FakeLane())
    return lanes


def woken(lanes):
    return [lane.woken for lane in lanes.values()]


def test_a_shared_outbox_wakes_only_the_addressed_lanes():
    lanes = make_lanes()

    lanes.wake_for(("meta",), 1)
    assert woken(lanes) == [1, 0]
    lanes.wake_for(("hubspot", "meta"), 1)
    assert woken(lanes) == [2, 1]


def test_a_lane_passes_over_many_conversions_for_others_at_a_time():
    lanes = make_lanes()

    for _ in range(3):
        lanes.wake_for(("meta",), 400)
    assert woken(lanes) == [3, 1]
    for _ in range(2):
        lanes.wake_for(("meta",), 400)
    assert woken(lanes) == [5, 1]
    lanes.wake_for(("meta",), 400)
    assert woken(lanes) == [6, 2]


def test_fewer_are_skipped_in_a_small_outbox():
    lanes = make_lanes(Kind(capacity=50))

    for _ in range(5):
        lanes.wake_for(("meta",), 1)

    assert woken(lanes) == [5, 1]


def test_an_unshared_outbox_wakes_every_lane():
    """A claim costs next to nothing there, and a lane does not claim without being woken."""
    lanes = make_lanes(Kind(shared=False))

    lanes.wake_for(("meta",), 1)

    assert woken(lanes) == [1, 1]


def test_skipping_starts_over_when_every_lane_was_woken():
    lanes = make_lanes()

    lanes.wake_for(("meta",), 900)
    lanes.wake()
    lanes.wake_for(("meta",), 900)

    assert woken(lanes) == [3, 1]


@pytest.mark.asyncio
async def test_a_lane_does_not_read_the_file_for_conversions_of_others(tmp_path):
    claims = collections.Counter()

    class Counted(SQLiteOutbox):
        async def claim(self, destination, limit, lease):
            claims[destination] += 1
            world.changed()
            return await super().claim(destination, limit, lease)

    outbox = Counted(tmp_path / "outbox.db")
    lanes = FakeSink("anytrack"), FakeSink("meta")
    world = World(*lanes, outbox=outbox, settings=attrs.evolve(QUICK, poll=3600.0))
    async with world.open():
        await world.until(lambda: claims["anytrack"])
        for number in range(10):
            (delivery,) = await world.submit(sale(f"e{number}"), to=["meta"])
            await delivery
        assert claims["anytrack"] == 1

    await outbox.open(["anytrack"])
    assert (await outbox.depths())["anytrack"].waiting == 0
    await outbox.aclose()
