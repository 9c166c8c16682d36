"""Taking in, handing out deliveries, and what goes on beside the lanes."""

import gc
import logging
import weakref

import anyio
import attrs
import pytest

from anytrack_async.errors import ClosedError, ConfigurationError, OutboxError, QueueFullError
from anytrack_async.events import Submitted
from anytrack_async.models import Outcome
from anytrack_async.outbox import MemoryOutbox
from tests.delivery.doubles import QUICK, FakeSink, Gatekeeper, World, calm, sale, sales, statuses

pytestmark = pytest.mark.asyncio


async def test_a_delivery_answers_for_one_destination_and_for_all():
    meta = FakeSink("meta", lambda _: [Outcome.delivered("deal-7")])
    world = World(FakeSink(), meta)
    async with world.open():
        (handle,) = await world.submit(sale("a"))
        assert (await handle.at("meta")).remote_id == "deal-7"
        assert statuses(await handle) == {"anytrack": "delivered", "meta": "delivered"}


async def test_what_was_accepted_is_told_once():
    world = World()
    async with world.open():
        await world.submit(*sales(3))
        await world.submit(*sales(3))

    assert [event.event_ids for event in world.told(Submitted)] == [["e0", "e1", "e2"]]


async def test_the_same_id_has_the_same_live_handle_and_is_sent_once():
    keeper = Gatekeeper()
    world = World(FakeSink(answer=keeper))
    async with world.open():
        first, second = await world.submit(sale("a"), sale("a"))
        (third,) = await world.submit(sale("a"))
        assert first is second is third
        keeper.open()
        await third

    assert world.sinks[0].taken == ["a"]


async def test_a_repeat_after_delivery_resolves_at_once():
    world = World(FakeSink("anytrack"), FakeSink("meta", lambda _: [Outcome.rejected("no")]))
    async with world.open():
        await world.deliver(sale("a"))
        gc.collect()
        (again,) = await world.submit(sale("a"))
        assert again.done()

    assert statuses(again) == {"anytrack": "delivered", "meta": "dead"}


async def test_a_repeat_is_for_whom_the_first_was():
    world = World(FakeSink("anytrack"), FakeSink("meta"))
    async with world.open():
        await world.submit(sale("a"), to=["meta"])
        (again,) = await world.submit(sale("a"))
        assert statuses(await again) == {"meta": "delivered"}
        with pytest.raises(ConfigurationError, match="only for: meta"):
            await again.at("anytrack")


async def test_other_content_under_the_same_id_is_a_conflict_that_stops_nothing():
    world = World()
    async with world.open():
        handles = await world.submit(sale("a"), sale("a", revenue=2), sale("b"))
        assert handles[1] is None
        await handles[2]

    assert world.sinks[0].taken == ["a", "b"]


async def test_an_id_that_was_forgotten_is_a_new_conversion_with_a_new_handle():
    world = World(outbox=MemoryOutbox(remember_ids=1), remember=0.0, prune_every=3600.0)
    async with world.open():
        (first,) = await world.submit(sale("a"))
        await first
        await world.outbox.prune(remember=0.0)
        (second,) = await world.submit(sale("a"))
        assert second is not first
        await second

    assert world.sinks[0].taken == ["a", "a"]


async def test_it_can_be_opened_again_and_forgets_what_was_left():
    sink = FakeSink(answer=Gatekeeper())
    world = World(sink, drain=0.0)
    async with world.open(leaving=True):
        (lost,) = await world.submit(sale("a"))
    world.undelivered, sink.answer = None, lambda _: None

    async with world.open():
        (handle,) = await world.submit(sale("a"))
        assert handle is not lost
        assert (await handle).delivered


async def test_submit_and_forget_costs_no_memory():
    keeper = Gatekeeper()
    world = World(FakeSink(answer=keeper))
    async with world.open():
        forgotten = [weakref.ref((await world.submit(one))[0]) for one in sales(1000)]
        gc.collect()
        assert not [one for one in forgotten if one() is not None]
        keeper.open()

    assert len(world.sinks[0].taken) == 1000


@pytest.mark.parametrize("to", [["mata"], [], ["anytrack", "mata"]])
async def test_a_destination_without_a_sink_is_refused(to):
    world = World()
    async with world.open():
        with pytest.raises(ConfigurationError, match="there are: anytrack"):
            await world.submit(sale("a"), to=to)
        with pytest.raises(ConfigurationError):
            world.dispatcher.resume("mata")

    assert not world.sinks[0].taken


async def test_resume_of_a_closed_dispatcher_does_nothing():
    World().dispatcher.resume("anytrack")


async def test_two_sinks_of_one_name_are_refused():
    with pytest.raises(ConfigurationError, match="share a name: meta, meta"):
        World(FakeSink("meta"), FakeSink("meta"))


async def test_a_start_for_a_destination_without_a_sink_is_refused():
    with pytest.raises(ConfigurationError, match="no sink for mata"):
        World(from_start=["mata"])


async def test_a_dispatcher_that_is_not_open_takes_nothing():
    world = World()
    for _ in range(2):
        with pytest.raises(ClosedError):
            await world.submit(sale("a"))
        with pytest.raises(ClosedError):
            world.dispatcher.check_open()
        async with world.open():
            world.dispatcher.check_open()


async def test_it_can_be_made_before_there_is_an_event_loop():
    world = await anyio.to_thread.run_sync(World)
    async with world.open():
        await world.deliver(sale("a"))


async def test_callers_wait_in_order_while_the_outbox_is_full():
    keeper = Gatekeeper()
    sink = FakeSink(answer=keeper, batch=1)
    world = World(sink, outbox=MemoryOutbox(capacity=2))
    accepted = []

    async def submit(name):
        await world.submit(sale(name))
        accepted.append(name)

    async with world.open(), anyio.create_task_group() as tg:
        for name in "abcdef":
            tg.start_soon(submit, name)
        await calm()
        assert accepted == ["a", "b"]
        keeper.open()

    assert accepted == sink.taken == list("abcdef")


async def test_a_full_outbox_can_raise_instead():
    keeper = Gatekeeper()
    world = World(FakeSink(answer=keeper), outbox=MemoryOutbox(capacity=1), on_full="raise")
    async with world.open():
        await world.submit(sale("a"))
        with pytest.raises(QueueFullError):
            await world.submit(sale("b"))
        keeper.open()


async def test_the_outboxs_error_comes_out_of_submit():
    class Full(MemoryOutbox):
        async def append(self, conversions, destinations=None):
            raise OutboxError("disk full")

    world = World(outbox=Full())
    async with world.open():
        with pytest.raises(OutboxError, match="disk full"):
            await world.submit(sale("a"))


async def test_a_destination_that_joins_gets_what_came_before_only_if_asked_for():
    outbox = MemoryOutbox()
    slow = FakeSink("slow", Gatekeeper())  # keeps the log from being cleaned up
    async with World(FakeSink(), slow, outbox=outbox, drain=0.0).open(leaving=True) as world:
        await world.submit(*sales(3))
        await world.until(lambda: len(world.sinks[0].taken) == 3)
    late, early = FakeSink("late"), FakeSink("early")
    world = World(FakeSink(), late, early, outbox=outbox, from_start=["early"])
    async with world.open():
        await world.deliver(sale("new"))
        await world.until(lambda: len(early.taken) == 4)

    assert late.taken == ["new"]
    assert sorted(early.taken) == ["e0", "e1", "e2", "new"]


async def test_a_backlog_without_a_sink_is_warned_of(caplog):
    outbox = MemoryOutbox()
    await outbox.open(["meta", "anytrack"])
    async with World(outbox=outbox).open():
        pass

    assert "backlog for 'meta', which has no sink here" in caplog.text
    assert "outbox.forget('meta')" in caplog.text


class Pruned(MemoryOutbox):
    prunes = 0
    broken = False

    stir = staticmethod(lambda: None)

    async def prune(self, *, remember):
        self.prunes += 1
        self.stir()
        if self.broken:
            raise OSError("jane@example.com")
        return await super().prune(remember=remember)


async def test_the_outbox_is_cleaned_up_by_the_clock():
    outbox = Pruned()
    async with World(outbox=outbox, prune_every=0.001).open() as world:
        outbox.stir = world.stir
        await world.until(lambda: outbox.prunes >= 3)


async def test_the_outbox_is_cleaned_up_after_many_deliveries():
    outbox = Pruned(capacity=20_000)
    async with World(FakeSink(batch=1000), outbox=outbox, prune_every=3600.0).open() as world:
        await world.submit(*sales(4_000))
        await world.until(lambda: len(world.sinks[0].taken) == 4_000)
        await calm()
        assert outbox.prunes == 0
        await world.submit(*sales(1_000, "f"))
        await world.until(lambda: len(world.sinks[0].taken) == 5_000)
        await calm()
        assert outbox.prunes == 1


async def test_a_clean_up_that_fails_is_logged_and_tried_again(caplog):
    outbox = Pruned()
    outbox.broken = True
    async with World(outbox=outbox, prune_every=0.001).open() as world:
        outbox.stir = world.stir
        await world.until(lambda: outbox.prunes >= 3)
        await world.deliver(sale("a"))

    assert "cannot clean up the outbox, trying again: OSError" in caplog.text
    assert "jane" not in caplog.text


class Shared(MemoryOutbox):
    """A memory outbox that two dispatchers of this test share, as two processes would a file."""

    fails = 0

    @property
    def shared(self):
        return True

    @property
    def durable(self):
        return True

    async def aclose(self):
        pass

    async def reports(self, event_ids):
        if self.fails:
            self.fails -= 1
            raise OutboxError("database is locked")
        return await super().reports(event_ids)


async def test_a_delivery_awaited_here_resolves_when_another_process_delivers_it():
    outbox = Shared()
    stuck = FakeSink(answer=Gatekeeper(), batch=1)
    here, there = World(stuck, outbox=outbox, drain=0.0), World(outbox=outbox)
    async with here.open(), there.open():
        await here.submit(sale("keeps the lane busy"))
        await here.until(lambda: stuck.busy)
        (handle,) = await here.submit(sale("a"))
        with anyio.fail_after(5):
            await handle

    assert there.sinks[0].taken == ["a"]


async def test_a_look_at_what_others_did_that_fails_is_tried_again(caplog):
    outbox = Shared()
    outbox.fails = 2
    stuck = FakeSink(answer=Gatekeeper(), batch=1)
    here, there = World(stuck, outbox=outbox, drain=0.0), World(outbox=outbox)
    async with here.open(), there.open():
        await here.submit(sale("keeps the lane busy"))
        await here.until(lambda: stuck.busy)
        (handle,) = await here.submit(sale("a"))
        with anyio.fail_after(5):
            await handle

    assert "cannot read the outbox, trying again: database is locked" in caplog.text


async def test_what_another_process_accepted_is_found():
    outbox = Shared()
    world = World(outbox=outbox)
    async with world.open():
        await calm()
        await outbox.append(sales(3))
        await world.until(lambda: len(world.sinks[0].taken) == 3)


async def test_helpers_run_beside_the_lanes_until_it_closes():
    seen = []

    async def work():
        seen.append("started")
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("ended")

    world = World()
    async with world.open():
        world.dispatcher.help(work)
        await calm()
        stopped = world.dispatcher.help(work)
        await calm()
        stopped.cancel()
        await calm()
        assert seen == ["started", "started", "ended"]
    assert seen == ["started", "started", "ended", "ended"]

    world.dispatcher.help(work)
    await calm()
    assert len(seen) == 4


async def test_an_idle_dispatcher_does_nothing(caplog):
    caplog.set_level(logging.DEBUG)

    class Counted(MemoryOutbox):
        claims = 0

        async def claim(self, destination, limit, lease):
            Counted.claims += 1
            return await super().claim(destination, limit, lease)

    settings = attrs.evolve(QUICK, poll=0.001)
    world = World(FakeSink(concurrency=4), outbox=Counted(), settings=settings)
    async with world.open():
        await world.deliver(sale("a"))
        before = Counted.claims
        await anyio.sleep(0.03)

    assert Counted.claims <= before + 5
