"""Accepting conversions, and returning their deliveries."""

import gc
import re
import weakref

import anyio
import pytest

from anytrack_async.errors import ClosedError, ConfigurationError, OutboxError, QueueFullError
from anytrack_async.events import Submitted
from anytrack_async.models.outcome import Outcome
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import (
    BlockingAnswer,
    FakeSink,
    World,
    run_ready_tasks,
    sale,
    sales,
    statuses,
)

pytestmark = pytest.mark.asyncio


async def test_a_delivery_can_be_awaited_at_one_destination_and_at_all():
    meta = FakeSink("meta", lambda _: [Outcome.delivered("deal-7")])
    world = World(FakeSink(), meta)
    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        assert (await delivery.at("meta")).remote_id == "deal-7"
        assert statuses(await delivery) == {"anytrack": "delivered", "meta": "delivered"}


async def test_accepted_conversions_are_one_event():
    world = World()
    async with world.open():
        await world.submit(*sales(3))
        await world.submit(*sales(3))

    assert [event.event_ids for event in world.events_of(Submitted)] == [["e0", "e1", "e2"]]


async def test_a_repeated_id_shares_its_delivery_and_is_sent_once():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper))
    async with world.open():
        first, second = await world.submit(sale("a"), sale("a"))
        (third,) = await world.submit(sale("a"))
        assert first is second is third
        keeper.open()
        await third

    assert world.sinks[0].delivered == ["a"]


async def test_a_repeat_after_delivery_resolves_at_once():
    world = World(FakeSink("anytrack"), FakeSink("meta", lambda _: [Outcome.rejected("no")]))
    async with world.open():
        await world.deliver(sale("a"))
        gc.collect()
        (again,) = await world.submit(sale("a"))
        assert again.done()

    assert statuses(again) == {"anytrack": "delivered", "meta": "dead"}


async def test_a_repeat_has_the_destinations_of_the_first():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.submit(sale("a"), to=["meta"])
        (again,) = await world.submit(sale("a"))
        assert statuses(await again) == {"meta": "delivered"}
        with pytest.raises(ConfigurationError, match="only for: meta"):
            await again.at("anytrack")


async def test_a_forgotten_id_is_a_new_conversion():
    world = World(outbox=MemoryOutbox(remember_ids=1), remember=0.0, prune_every=3600.0)
    async with world.open():
        (first,) = await world.submit(sale("a"))
        await first
        await world.outbox.prune(remember=0.0)
        (second,) = await world.submit(sale("a"))
        assert second is not first
        await second

    assert world.sinks[0].delivered == ["a", "a"]


async def test_a_dispatcher_can_be_opened_again():
    sink = FakeSink(answer=BlockingAnswer())
    world = World(sink, drain=0.0)
    async with world.open(leaves_undelivered=True):
        (lost,) = await world.submit(sale("a"))
    world.undelivered, sink.answer = None, lambda _: None

    async with world.open():
        (delivery,) = await world.submit(sale("a"))
        assert delivery is not lost
        assert (await delivery).delivered


async def test_submit_and_forget_costs_no_memory():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper))
    async with world.open():
        forgotten = [weakref.ref((await world.submit(conversion))[0]) for conversion in sales(1000)]
        gc.collect()
        assert not [reference for reference in forgotten if reference() is not None]
        keeper.open()

    assert len(world.sinks[0].delivered) == 1000


@pytest.mark.parametrize("to", [["mata"], [], ["anytrack", "mata"]])
async def test_a_destination_without_a_sink_is_refused(to):
    world = World()
    async with world.open():
        with pytest.raises(ConfigurationError, match="known destinations: anytrack"):
            await world.submit(sale("a"), to=to)
        with pytest.raises(ConfigurationError):
            world.dispatcher.resume("mata")

    assert not world.sinks[0].delivered


@pytest.mark.parametrize(
    ("to", "message"),
    [("anytrack", "to must be a list: ['anytrack']"), (7, "to must be a list, got int")],
)
async def test_destinations_that_are_not_a_list_are_refused(to, message):
    world = World()
    async with world.open():
        with pytest.raises(ConfigurationError, match=re.escape(message)):
            await world.submit(sale("a"), to=to)

    assert not world.sinks[0].delivered


async def test_destinations_that_were_named_before_are_checked_as_at_first():
    world = World(FakeSink("meta"), FakeSink("hubspot"))
    async with world.open():
        for _ in range(2):
            (delivery,) = await world.submit(sale("a"), to=["meta"])
            assert [*(await delivery).outcomes] == ["meta"]
            for wrong in ("meta", ["mata"], [["meta"]], {"meta": 1}.items()):
                with pytest.raises(ConfigurationError):
                    await world.submit(sale("b"), to=wrong)


async def test_destinations_may_come_from_an_iterator():
    world = World(FakeSink("meta"), FakeSink("hubspot"))
    async with world.open():
        (delivery,) = await world.submit(sale("a"), to=iter(["meta"]))
        report = await delivery

    assert [*report.outcomes] == ["meta"]
    assert not world.sinks[1].delivered


async def test_resume_of_a_closed_dispatcher_does_nothing():
    World().dispatcher.resume("anytrack")
    World().dispatcher.replace_credentials("anytrack")


async def test_two_sinks_of_one_name_are_refused():
    with pytest.raises(ConfigurationError, match="share a name: meta, meta"):
        World(FakeSink("meta"), FakeSink("meta"))


async def test_from_start_refuses_a_destination_without_a_sink():
    with pytest.raises(ConfigurationError, match="no destination 'mata'"):
        World(from_start=["mata"])


async def test_a_closed_dispatcher_accepts_nothing():
    world = World()
    for _ in range(2):
        with pytest.raises(ClosedError):
            await world.submit(sale("a"))
        with pytest.raises(ClosedError):
            world.dispatcher.check_open()
        async with world.open():
            world.dispatcher.check_open()


async def test_a_dispatcher_can_be_created_without_an_event_loop():
    world = await anyio.to_thread.run_sync(World)
    async with world.open():
        await world.deliver(sale("a"))


async def test_callers_wait_in_order_while_the_outbox_is_full():
    keeper = BlockingAnswer()
    sink = FakeSink(answer=keeper, batch=1)
    world = World(sink, outbox=MemoryOutbox(capacity=2), poll=3600.0)
    accepted = []

    async def submit(name):
        await world.submit(sale(name))
        accepted.append(name)

    async with world.open(), anyio.create_task_group() as tg:
        for name in "abcdef":
            tg.start_soon(submit, name)
        await run_ready_tasks()
        assert accepted == ["a", "b"]
        keeper.open()

    assert accepted == sink.delivered == list("abcdef")


async def test_a_full_outbox_can_raise_instead():
    keeper = BlockingAnswer()
    world = World(FakeSink(answer=keeper), outbox=MemoryOutbox(capacity=1), on_full="raise")
    async with world.open():
        await world.submit(sale("a"))
        with pytest.raises(QueueFullError):
            await world.submit(sale("b"))
        keeper.open()


async def test_submit_raises_the_outboxs_error():
    class Full(MemoryOutbox):
        async def append(self, conversions, destinations=None):
            raise OutboxError("disk full")

    world = World(outbox=Full())
    async with world.open():
        with pytest.raises(OutboxError, match="disk full"):
            await world.submit(sale("a"))
