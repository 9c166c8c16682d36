from contextlib import suppress

import anyio
import attrs
import pytest

from anytrack_async.delivery import admission as admission_module
from anytrack_async.delivery.admission import Admission
from anytrack_async.delivery.flow import LaneCondition
from anytrack_async.delivery.room import Patience
from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.errors import ClosedError, OutboxError, QueueFullError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from tests.delivery.doubles import QUICK, ids, run_ready_tasks, sale, sales

pytestmark = pytest.mark.asyncio

PATIENT = attrs.evolve(QUICK, poll=60.0)
LIMITS = {"meta": SinkLimits(batch=100, concurrency=1)}


def admission_of(outbox, settings=PATIENT, **options):
    """Return an open admission; *options* replace what a dispatcher passes."""
    options = {
        "limits": LIMITS,
        "notify": lambda _: None,
        "condition": lambda _: LaneCondition("running"),
        "on_dropped": lambda *_: None,
        **options,
    }
    admission = Admission(outbox, settings, **options)
    admission.open()
    return admission


class Callers:
    """An admission in front of a small outbox, with callers in the order in which they came."""

    def __init__(self, tg, *, capacity=2, settings=PATIENT, outbox=None):
        self.outbox = outbox or MemoryOutbox(capacity=capacity)
        self.admission = admission_of(self.outbox, settings)
        self.accepted = []
        self.refused = []
        self._tg = tg

    async def start(self):
        await self.outbox.open(["meta"])
        return self

    async def come(self, *conversions):
        scope = anyio.CancelScope()

        async def submit():
            with scope:
                try:
                    await self.admission.append(conversions, None)
                except Exception as exc:
                    self.refused.append(exc)
                else:
                    self.accepted += ids(conversions)

        self._tg.start_soon(submit)
        await run_ready_tasks()
        return scope

    async def deliver(self, count):
        """Deliver *count* conversions, which makes space."""
        await self.outbox.settle(await self.outbox.claim("meta", count, 60))
        self.admission.make_room("meta", count)
        await run_ready_tasks()


async def test_a_full_outbox_admits_callers_in_order():
    async with anyio.create_task_group() as tg:
        callers = await Callers(tg).start()
        for name in "abcdef":
            await callers.come(sale(name))
        assert callers.accepted == ["a", "b"]

        await callers.deliver(1)
        assert callers.accepted == ["a", "b", "c"]
        await callers.deliver(2)
        assert callers.accepted == ["a", "b", "c", "d", "e"]
        await callers.deliver(1)
        assert callers.accepted == ["a", "b", "c", "d", "e", "f"]


async def test_a_small_call_does_not_overtake_a_big_one_that_waits():
    async with anyio.create_task_group() as tg:
        callers = await Callers(tg).start()
        await callers.come(sale("a"))
        await callers.come(*sales(2, "big"))
        await callers.come(sale("small"))
        assert callers.accepted == ["a"]

        await callers.deliver(1)
        assert callers.accepted == ["a", "big0", "big1"]
        await callers.deliver(2)
        assert callers.accepted == ["a", "big0", "big1", "small"]


async def test_a_cancelled_caller_lets_the_next_in():
    async with anyio.create_task_group() as tg:
        callers = await Callers(tg, capacity=1).start()
        await callers.come(sale("a"))
        first = await callers.come(sale("b"))
        second = await callers.come(sale("c"))
        await callers.come(sale("d"))

        first.cancel()
        second.cancel()
        await callers.deliver(1)

        assert callers.accepted == ["a", "d"]


async def test_closing_refuses_waiting_callers():
    async with anyio.create_task_group() as tg:
        callers = await Callers(tg, capacity=1).start()
        for name in "abc":
            await callers.come(sale(name))

        callers.admission.close()
        await run_ready_tasks()

        assert callers.accepted == ["a"]
        assert [type(exc) for exc in callers.refused] == [ClosedError, ClosedError]
        assert (await callers.outbox.depths())["meta"].waiting == 1


async def test_a_refusal_that_comes_after_closing_begins_no_episode():
    class Slow(MemoryOutbox):
        answer = anyio.Event()

        async def append(self, conversions, destinations=None):
            await self.answer.wait()
            raise QueueFullError("full", {"meta": 1})

    events, refused, outbox = [], [], Slow()
    await outbox.open(["meta"])
    admission = admission_of(outbox, notify=events.append)

    async def submit():
        with pytest.raises(ClosedError, match="nothing was accepted"):
            await admission.append([sale("a")], None)
        refused.append("a")

    async with anyio.create_task_group() as tg:
        tg.start_soon(submit)
        await run_ready_tasks()
        admission.close()
        outbox.answer.set()

    assert (refused, events) == (["a"], [])


async def test_a_full_outbox_can_raise_instead():
    async with anyio.create_task_group() as tg:
        callers = await Callers(tg, settings=attrs.evolve(QUICK, on_full="raise")).start()
        await callers.come(*sales(2))
        await callers.come(sale("late"))

        assert [type(exc) for exc in callers.refused] == [QueueFullError]


async def test_a_call_that_can_never_fit_is_refused_at_once():
    async with anyio.create_task_group() as tg:
        callers = await Callers(tg).start()
        await callers.come(*sales(3))
        assert [type(exc) for exc in callers.refused] == [QueueFullError]

        await callers.come(*sales(2))
        await callers.come(sale("waits"))
        await callers.come(*sales(3, "x"))
        await callers.deliver(2)
        assert [type(exc) for exc in callers.refused] == [QueueFullError] * 2
        assert callers.accepted == ["e0", "e1", "waits"]


async def test_space_made_by_another_process_is_found():
    async with anyio.create_task_group() as tg:
        callers = await Callers(tg, capacity=1, settings=QUICK).start()
        tg.start_soon(callers.admission.run)
        await callers.come(sale("a"))
        await callers.outbox.settle(await callers.outbox.claim("meta", 1, 60))

        with anyio.fail_after(5):
            await callers.admission.append([sale("b")], None)
        tg.cancel_scope.cancel()


async def test_waiting_for_space_does_not_spin():
    class Counted(MemoryOutbox):
        tries = 0

        async def append(self, conversions, destinations=None):
            Counted.tries += 1
            return await super().append(conversions, destinations)

    async with anyio.create_task_group() as tg:
        callers = await Callers(tg, outbox=Counted(capacity=1)).start()
        await callers.come(sale("a"))
        await callers.come(sale("b"))
        await run_ready_tasks()
        tries = Counted.tries
        await callers.deliver(1)

    assert tries == 2
    assert callers.accepted == ["a", "b"]


async def test_a_closed_admission_accepts_nothing():
    admission = admission_of(MemoryOutbox())
    admission.close()

    with pytest.raises(ClosedError, match="nothing was accepted"):
        await admission.append([sale("a")], None)


async def test_append_raises_the_outboxs_errors():
    class Broken(MemoryOutbox):
        async def append(self, conversions, destinations=None):
            raise OutboxError("disk full")

    async with anyio.create_task_group() as tg:
        callers = Callers(tg, outbox=Broken())
        await callers.come(sale("a"))

        assert [str(exc) for exc in callers.refused] == ["disk full"]


class Durable(MemoryOutbox):
    """A durable outbox that does not yield, as a client of a local server may not."""

    durable = True


@pytest.mark.parametrize("kind", [MemoryOutbox, Durable])
async def test_a_loop_that_submits_yields_to_other_tasks(kind):
    outbox = kind()
    await outbox.open(["meta"])
    admission = admission_of(outbox, QUICK)
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await anyio.lowlevel.checkpoint()
            beats += 1

    async with anyio.create_task_group() as tg:
        tg.start_soon(beat)
        for conversion in sales(640):
            assert await admission.append([conversion], None) == [Appended.NEW]
        tg.cancel_scope.cancel()

    assert 9 <= beats <= 30


async def test_a_loop_that_retries_a_full_outbox_yields_to_other_tasks():
    outbox = MemoryOutbox(capacity=1)
    await outbox.open(["meta"])
    admission = admission_of(outbox, attrs.evolve(QUICK, on_full="raise"))
    await admission.append([sale("a")], None)

    async def deliver():
        await outbox.settle(await outbox.claim("meta", 1, 60))

    async with anyio.create_task_group() as tg:
        tg.start_soon(deliver)
        for _ in range(1000):
            with suppress(QueueFullError):
                await admission.append([sale("b")], None)
                break
        else:
            pytest.fail("the worker that makes space did not run")


async def test_every_caller_joins_the_shared_commit():
    """Only an outbox that never waits needs breaks, so that others may run."""
    begun, commit = 0, anyio.Event()

    class Grouping(MemoryOutbox):
        async def append(self, conversions, destinations=None):
            nonlocal begun
            begun += 1
            await commit.wait()
            return await super().append(conversions, destinations)

    admission = admission_of(outbox := Grouping())
    await outbox.open(["meta"])
    for wave in range(3):
        begun, commit = 0, anyio.Event()
        async with anyio.create_task_group() as tg:
            for conversion in sales(100, f"w{wave}-"):
                tg.start_soon(admission.append, [conversion], None)
            await anyio.lowlevel.checkpoint()
            assert begun == 100
            commit.set()


class Lockable(MemoryOutbox):
    """An outbox whose `append` may wait for a lock; notes how long its callers had waited."""

    def __init__(self):
        super().__init__(capacity=1)
        self.waited = []

    def limit_waiting(self, seconds):
        self.limit = seconds

    async def append(self, conversions, destinations=None, *, waited=0.0):
        self.waited.append(waited)
        return await super().append(conversions, destinations)


@pytest.mark.parametrize(
    ("patience", "waited"), [(Patience.LIMITED, [0.0, 0.0, 7.0]), (Patience.UNLIMITED, [0.0] * 3)]
)
async def test_waiting_for_room_and_for_a_lock_have_one_deadline(monkeypatch, patience, waited):
    now = 100.0
    monkeypatch.setattr(admission_module, "monotonic", lambda: now)
    outbox = Lockable()
    await outbox.open(["meta"])
    admission = admission_of(outbox)
    await admission.append([sale("a")], None)
    async with anyio.create_task_group() as tg:
        tg.start_soon(admission.append, [sale("b")], None, patience)
        await run_ready_tasks()
        now = 107.0
        await outbox.settle(await outbox.claim("meta", 1, 60))
        admission.make_room("meta", 1)

    assert outbox.waited == waited
    assert list(await outbox.reports(["b"])) == ["b"]
