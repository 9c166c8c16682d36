"""The ids that destinations give: what a lane passes to the outbox, and outboxes without them."""

from typing import Any

import pytest

from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.capabilities import KeepsRemoteIds
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import FakeSink, World, sale, statuses

pytestmark = pytest.mark.asyncio


class Plain:
    """An outbox of somebody else, without the optional part."""

    def __init__(self) -> None:
        self._outbox = MemoryOutbox()

    def __getattr__(self, name: str) -> Any:
        if name == "settle_with_ids":
            raise AttributeError(name)
        return getattr(self._outbox, name)


async def report_of(world: World, event_id: str) -> Outcome:
    return (await world.outbox.reports([event_id]))[event_id].outcomes["anytrack"]


async def deliver_all(world: World, *event_ids: str) -> dict[str, str | None]:
    """Submit and await conversions, drop their deliveries, and return the ids in the outbox."""
    for delivery in await world.submit(*map(sale, event_ids)):
        await delivery
    return {event_id: (await report_of(world, event_id)).remote_id for event_id in event_ids}


@pytest.mark.parametrize(
    ("remote_id", "expected"),
    [
        ("c-1", "c-1"),
        ("x" * 255, "x" * 255),
        ("x" * 256, None),
        ("a\nb", None),
        ("\ud800", None),
        (17, None),
        ("", None),
        (None, None),
    ],
)
async def test_an_id_that_no_outbox_could_keep_harms_no_other(remote_id: Any, expected: str | None):
    def answer(ids: list[str]) -> list[Outcome]:
        return [Outcome.delivered(remote_id if event_id == "a" else "b-1") for event_id in ids]

    world = World(FakeSink(answer=answer))
    async with world.open():
        assert await deliver_all(world, "a", "b") == {"a": expected, "b": "b-1"}


async def test_one_that_is_retried_or_rejected_has_none():
    def answer(ids: list[str]) -> list[Outcome]:
        rejected = Outcome.rejected("no")
        return [rejected if event_id == "b" else Outcome.delivered("c-1") for event_id in ids]

    world = World(FakeSink(answer=answer))
    async with world.open():
        assert await deliver_all(world, "a", "b") == {"a": "c-1", "b": None}
        world.sinks[0].answer = lambda ids: [Outcome.delivered("c-2")] * len(ids)
        assert await world.outbox.replay("anytrack") == 1
        world.dispatcher.wake()
        (again,) = await world.submit(sale("b"))
        assert (await again).outcomes["anytrack"].remote_id == "c-2"


async def test_an_outbox_without_the_optional_part_delivers_as_well():
    outbox: Any = Plain()
    assert not isinstance(outbox, KeepsRemoteIds)
    world = World(FakeSink(answer=lambda ids: [Outcome.delivered("c-1")] * len(ids)), outbox=outbox)
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        report = await delivery
        assert statuses(report) == {"anytrack": "delivered"}
        assert report.outcomes["anytrack"].remote_id == "c-1"
        assert (await report_of(world, "a")).remote_id is None
