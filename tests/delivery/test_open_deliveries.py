"""The deliveries that callers still hold."""

import gc
import weakref

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anytrack_async.delivery.delivery import OpenDeliveries
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.memory.outbox import MemoryOutbox

pytestmark = pytest.mark.asyncio

LOST = UndeliveredError("the client closed", {"meta": ["a"]})


def outcome(destination, status=Status.DELIVERED, **more):
    return Outcome(status=status, destination=destination, **more)


async def test_an_id_has_one_handle_as_long_as_somebody_holds_it():
    handles = OpenDeliveries(MemoryOutbox())
    one = handles.get("a", ("meta",))
    assert handles.get("a", ("meta",)) is one

    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


async def test_outcomes_are_only_made_for_handles_that_are_held():
    handles, asked = OpenDeliveries(MemoryOutbox()), []

    def answer(at):
        asked.append(at)
        return outcome("meta")

    handles.resolve(["a"], answer)
    assert not asked

    one = handles.get("b", ("meta",))
    handles.resolve(["a", "b"], answer)
    assert asked == [1]
    assert one.done()


async def test_only_awaited_handles_are_looked_up():
    class Asked(MemoryOutbox):
        ids = ()

        async def reports(self, event_ids):
            self.ids = event_ids
            return {}

    outbox = Asked()
    handles = OpenDeliveries(outbox)
    watched, idle = handles.get("a", ("meta",)), handles.get("b", ("meta",))
    watched.watch(lambda _: None)

    await handles.refresh_awaited()

    assert outbox.ids == ["a"]
    assert idle.event_id not in outbox.ids


async def test_closing_fails_only_what_is_not_done():
    handles = OpenDeliveries(MemoryOutbox())
    done, open_ = handles.get("a", ("meta",)), handles.get("b", ("meta",))
    done.resolve(outcome("meta"))

    await handles.fail(lambda one: UndeliveredError(one.event_id, {}))

    assert done.failure is None
    assert str(open_.failure) == "b"


async def test_closing_lets_others_run_while_it_tells_many():
    handles, beats = OpenDeliveries(MemoryOutbox()), 0
    held = [handles.get(f"e{at}", ("meta",)) for at in range(2_000)]

    async def beat():
        nonlocal beats
        while True:
            await checkpoint()
            beats += 1

    async with anyio.create_task_group() as tg:
        tg.start_soon(beat)
        await handles.fail(lambda one: UndeliveredError(one.event_id, {}))
        tg.cancel_scope.cancel()

    assert beats >= 5
    assert all(one.failure for one in held)


async def test_a_handle_that_is_done_or_failed_is_not_handed_out_again():
    handles = OpenDeliveries(MemoryOutbox())
    done, failed = handles.get("a", ("meta",)), handles.get("b", ("meta",))
    done.resolve(outcome("meta"))
    failed.fail(LOST)

    assert handles.get("a", ("meta",)) is not done
    assert handles.get("b", ("meta",)) is not failed


async def test_many_who_wait_are_looked_up_in_turns():
    class Asked(MemoryOutbox):
        ids = ()

        async def reports(self, event_ids):
            self.ids += tuple(event_ids)
            return {}

    outbox = Asked()
    handles = OpenDeliveries(outbox)
    held = [handles.get(f"e{at}", ("meta",)) for at in range(2_500)]
    for one in held:
        one.watch(lambda _: None)

    for looked in (1_000, 2_000, 3_000):
        await handles.poll_awaited()
        assert len(outbox.ids) == looked
    assert len({*outbox.ids}) == 2_500

    outbox.ids = ()
    await handles.refresh_awaited()
    assert {*outbox.ids} == {one.event_id for one in held}
