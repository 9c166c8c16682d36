"""Group commit: tasks that append at the same time share a transaction, and nothing else."""

import asyncio
import sqlite3
import threading

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from anytrack_async.errors import OutboxError, QueueFullError
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite import append, group_commit
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.thread import Job
from anytrack_async.testing.outbox_rules.base import LEASE, orders, sale, sales

pytestmark = pytest.mark.asyncio


class BlockedThread:
    """Blocks the outbox's thread until it is released, and counts the commits from then on."""

    def __init__(self, outbox):
        self.outbox = outbox
        self.commits = 0
        self._released = threading.Event()

    async def __aenter__(self):
        await self.outbox._run(lambda db: db.sql.set_trace_callback(self._count))
        self._blocking = asyncio.ensure_future(self.outbox._run(lambda _: self._released.wait(10)))
        await anyio.wait_all_tasks_blocked()
        return self

    async def __aexit__(self, *_):
        self.release()
        await self._blocking
        await self.outbox._run(lambda db: db.sql.set_trace_callback(None))

    def release(self):
        self._released.set()

    def _count(self, statement):
        self.commits += statement == "COMMIT"


async def start(coroutines):
    """Start tasks for *coroutines*, let each run until it waits, and return the tasks."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await anyio.wait_all_tasks_blocked()
    return tasks


async def test_a_hundred_tasks_need_one_commit(outbox):
    async with BlockedThread(outbox) as thread:
        tasks = await start(outbox.append([sale(n)]) for n in range(100))
        thread.release()
        results = await asyncio.gather(*tasks)
        assert thread.commits == 1

    assert results == [[Appended.NEW]] * 100
    assert len((await outbox.claim("alpha", 200, LEASE)).entries) == 100


@pytest.mark.parametrize("count", [1, 7, 8, 9, 63, 64, 65, 137])
async def test_groups_of_any_size_are_written_in_order(outbox, count):
    async with BlockedThread(outbox) as thread:
        tasks = await start(outbox.append([sale(n)]) for n in range(count))
        thread.release()
        assert await asyncio.gather(*tasks) == [[Appended.NEW]] * count

    claim = await outbox.claim("alpha", 200, LEASE)
    assert [entry.conversion for entry in claim.entries] == sales(*range(count))
    assert [entry.seq for entry in claim.entries] == list(range(1, count + 1))


async def test_a_hundred_tasks_need_few_statements(outbox):
    """Each statement has to wait for the interpreter while the event loop is busy."""
    seen = []
    async with BlockedThread(outbox) as thread:
        await start([outbox._run(lambda db: db.sql.set_trace_callback(seen.append))])
        tasks = await start(outbox.append([sale(n)]) for n in range(100))
        thread.release()
        await asyncio.gather(*tasks)

    inserts = [statement for statement in seen if statement.startswith("INSERT INTO")]
    assert sum("history_" not in statement for statement in inserts) == 6


async def test_the_thread_never_waits_for_the_event_loop(outbox):
    """The event loop may be busy for long before it wakes the callers."""
    first = asyncio.ensure_future(outbox.append(sales(1)))
    await asyncio.sleep(0)
    written = threading.Event()
    outbox._thread.post(Job(lambda _: written.set()))

    assert written.wait(10)  # the event loop stands still meanwhile
    assert not first.done()
    assert await first == [Appended.NEW]


async def test_calls_during_a_commit_form_the_next_group(outbox, monkeypatch):
    write, sizes = append.append, []
    writing, go = threading.Event(), threading.Event()

    def slowly(db, batch, *more):
        sizes.append(len(batch.conversions))
        writing.set()
        go.wait(10)
        return write(db, batch, *more)

    monkeypatch.setattr(group_commit, "append", slowly)
    tasks = await start([outbox.append([sale(0)])])
    await anyio.to_thread.run_sync(writing.wait, 10)
    tasks += await start(outbox.append([sale(n)]) for n in range(1, 6))
    go.set()

    assert await asyncio.gather(*tasks) == [[Appended.NEW]] * 6
    assert sizes == [1, 5]


async def test_a_call_that_was_cancelled_before_the_file_was_free_is_not_written(
    outbox, monkeypatch
):
    write, writing, go = append.append, threading.Event(), threading.Event()

    def slowly(*arguments):  # as while another program has the file locked
        writing.set()
        go.wait(10)
        return write(*arguments)

    monkeypatch.setattr(group_commit, "append", slowly)
    async with BlockedThread(outbox) as thread:
        tasks = await start(outbox.append(part) for part in (sales(1), sales(2, 3), sales(4)))
        thread.release()
        await anyio.to_thread.run_sync(writing.wait, 10)
        tasks[1].cancel()
        await asyncio.sleep(0)
        go.set()

    assert [await tasks[0], await tasks[2]] == [[Appended.NEW]] * 2
    assert orders(await outbox.claim("alpha", 9, LEASE)) == [1, 4]
    assert await outbox.append(sales(3)) == [Appended.NEW]


async def test_each_caller_gets_its_own_results(outbox):
    await outbox.append(sales(1))
    async with BlockedThread(outbox) as thread:
        tasks = await start(
            [
                outbox.append(sales(2, 1)),
                outbox.append(sales(2, 3)),
                outbox.append([]),
                outbox.append([sale(3, revenue=9), sale(4)]),
            ]
        )
        thread.release()
        results = await asyncio.gather(*tasks)

    new, repeat = Appended.NEW, Appended.REPEAT
    contradiction = find_contradiction("sale:3", "sale 3 USD", "sale 9 USD")
    assert results == [[new, repeat], [repeat, new], [], [contradiction, new]]
    claim = await outbox.claim("alpha", 9, LEASE)
    assert [entry.conversion for entry in claim.entries] == sales(1, 2, 3, 4)


async def test_only_the_call_that_exceeds_the_capacity_is_refused(path, clock):
    outbox = SQLiteOutbox(path, capacity=5, clock=clock)
    await outbox.open(["alpha"])
    async with BlockedThread(outbox) as thread:
        calls = [sales(1, 2), sales(*range(10, 14)), sales(3)]
        tasks = await start(outbox.append(call) for call in calls)
        thread.release()
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)

    assert (first, third) == ([Appended.NEW] * 2, [Appended.NEW])
    assert isinstance(second, QueueFullError)
    claim = await outbox.claim("alpha", 9, LEASE)
    assert [entry.conversion for entry in claim.entries] == sales(1, 2, 3)
    await outbox.aclose()


async def test_new_conversions_of_a_group_are_cached_at_their_positions(path, clock, monkeypatch):
    outbox = SQLiteOutbox(path, capacity=5, clock=clock)
    await outbox.open(["alpha"])
    await outbox.append(sales(1))
    async with BlockedThread(outbox) as thread:
        calls = [sales(2, 1), sales(*range(10, 14)), sales(3)]
        tasks = await start(outbox.append(call) for call in calls)
        thread.release()
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)

    assert (first, third) == ([Appended.NEW, Appended.REPEAT], [Appended.NEW])
    assert isinstance(second, QueueFullError)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.decoding.decode", lambda *_: 1 / 0)
    claim = await outbox.claim("alpha", 9, LEASE)
    assert [entry.conversion for entry in claim.entries] == sales(1, 2, 3)
    await outbox.aclose()


@pytest.mark.parametrize("natively", [True, False])
async def test_cancelling_the_first_caller_does_not_affect_the_others(outbox, natively):
    scope = anyio.CancelScope()

    async def first():
        with scope:
            await outbox.append(sales(1))

    async with BlockedThread(outbox) as thread:
        leader, *others = await start([first(), *(outbox.append(sales(n)) for n in (2, 3))])
        if natively:
            leader.cancel()
        else:
            scope.cancel()
        await asyncio.wait([leader])
        assert leader.cancelled() is natively
        assert not any(task.done() for task in others)
        thread.release()
        assert await asyncio.gather(*others) == [[Appended.NEW]] * 2

    results = list(await outbox.append(sales(1, 2, 3)))
    assert results == [Appended.NEW, Appended.REPEAT, Appended.REPEAT]


async def test_a_closed_event_loop_does_not_affect_the_results_of_others(outbox):
    async def give_up():
        asyncio.ensure_future(outbox.append(sales(1)))  # noqa: RUF006 - the loop ends before
        await anyio.wait_all_tasks_blocked()

    async with BlockedThread(outbox) as thread:
        await anyio.to_thread.run_sync(asyncio.run, give_up())
        tasks = await start(outbox.append(sales(n)) for n in (2, 1, 3))
        thread.release()
        with anyio.fail_after(5):
            results = await asyncio.gather(*tasks)
        assert thread.commits == 1

    assert results == [[Appended.NEW]] * 3  # the loop had cancelled its task before it ended


async def test_a_group_can_have_callers_in_several_event_loops(outbox):
    """A sleeping event loop does not notice when another thread resolves its futures."""

    async def elsewhere(number, joined):
        (task,) = await start([outbox.append(sales(number))])
        joined.set()
        with anyio.fail_after(5):
            return await task

    async with BlockedThread(outbox) as thread, anyio.create_task_group() as tg:
        results = []

        async def in_a_thread(number, joined):
            results.append(await anyio.to_thread.run_sync(asyncio.run, elsewhere(number, joined)))

        (here,) = await start([outbox.append(sales(0))])
        for number in (1, 2):
            joined = threading.Event()
            tg.start_soon(in_a_thread, number, joined)
            await anyio.to_thread.run_sync(joined.wait, 5)
        thread.release()
        results.append(await here)

    assert results == [[Appended.NEW]] * 3
    assert thread.commits == 1


async def test_a_conversion_that_cannot_be_encoded_fails_its_own_call_only(outbox, monkeypatch):
    record_of_any = append.record_of

    def record_of(conversion):
        if conversion.order_id == "2":
            raise TypeError("made up")
        return record_of_any(conversion)

    monkeypatch.setattr(append, "record_of", record_of)
    async with BlockedThread(outbox) as thread:
        tasks = await start(outbox.append(sales(*some)) for some in ((1,), (3, 2), (4, 5)))
        thread.release()
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)

    assert (first, third) == ([Appended.NEW], [Appended.NEW] * 2)
    assert isinstance(second, TypeError)
    claim = await outbox.claim("alpha", 9, LEASE)
    assert list(claim.entries.conversions) == sales(1, 4, 5)


async def test_a_task_cancelled_while_encoding_writes_nothing(outbox):
    with anyio.move_on_after(0) as scope:
        await outbox.append(sales(*range(51)))

    assert scope.cancelled_caught
    assert await outbox.reports(["sale:1"]) == {}


async def test_closing_while_a_task_encodes_raises_in_that_task(outbox):
    task = asyncio.ensure_future(outbox.append(sales(*range(51))))
    await anyio.lowlevel.checkpoint()  # now it has encoded a part
    await outbox.aclose()

    with anyio.fail_after(10), pytest.raises(OutboxError, match="not open"):
        await task


async def test_a_claim_is_not_lost_to_cancellation(outbox):
    await outbox.append(sales(1))
    scope = anyio.CancelScope()
    claims = []

    async def worker():
        with scope:
            claims.append(await outbox.claim("alpha", 1, LEASE))

    async with BlockedThread(outbox) as thread:
        (task,) = await start([worker()])
        scope.cancel()
        thread.release()
        await task

    assert await outbox.settle(claims[0])


async def test_closing_waits_for_pending_calls(outbox):
    async with BlockedThread(outbox) as thread:
        tasks = await start(outbox.append([sale(n)]) for n in range(3))
        (closing,) = await start([outbox.aclose()])
        with pytest.raises(OutboxError, match="not open"):
            await outbox.append(sales(9))
        thread.release()
        assert await asyncio.gather(*tasks) == [[Appended.NEW]] * 3
        await closing
        await outbox.open(["alpha", "beta"])

    assert len((await outbox.claim("alpha", 9, LEASE)).entries) == 3


async def test_a_failed_group_raises_for_each_caller_and_accepts_nothing(outbox):
    await outbox.append(sales(1))
    pages = await outbox._run(lambda db: db.sql.execute("PRAGMA page_count").fetchone()[0])
    limit = f"PRAGMA max_page_count = {pages}"
    await outbox._run(lambda db: db.sql.execute(limit).fetchone())
    big = {"pad": "x" * 20_000}

    async with BlockedThread(outbox) as thread:
        tasks = await start(outbox.append([sale(n, custom_data=big)]) for n in (2, 3, 4))
        thread.release()
        errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(error, OutboxError) and "disk is full" in str(error) for error in errors)
    assert len({id(error) for error in errors}) == 3
    assert set(await outbox.reports([f"sale:{n}" for n in (1, 2, 3, 4)])) == {"sale:1"}

    await outbox._run(lambda db: db.sql.execute("PRAGMA max_page_count = 100000").fetchone())
    assert list(await outbox.append([sale(2, custom_data=big)])) == [Appended.NEW]
    claim = await outbox.claim("alpha", 9, LEASE)
    assert [entry.conversion.order_id for entry in claim.entries] == ["1", "2"]


async def test_an_unexpected_error_reaches_every_waiting_caller(outbox, monkeypatch):
    async with BlockedThread(outbox) as thread:
        tasks = await start(outbox.append([sale(n)]) for n in (1, 2))
        with monkeypatch.context() as broken:
            broken.setattr(group_commit, "append", lambda *_: 1 / 0)
            thread.release()
            errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(error) for error in errors] == [ZeroDivisionError] * 2
    assert await outbox.append(sales(1, 2)) == [Appended.NEW] * 2


async def test_only_append_waits_for_the_disk(outbox):
    async def level():
        return await outbox._run(lambda db: db.sql.execute("PRAGMA synchronous").fetchone()[0])

    full, normal = 2, 1
    await outbox.append(sales(1))
    assert await level() == full
    claim = await outbox.claim("alpha", 1, LEASE)
    assert await level() == normal
    await outbox.settle(claim)
    assert await level() == normal
    await outbox.append(sales(2))
    assert await level() == full


async def test_reading_needs_no_lock(outbox, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with anyio.fail_after(5):
            assert not (await outbox.claim("alpha", 1, LEASE)).entries
            await outbox.depths()
            await outbox.reports(["sale:1"])
            await outbox.dead_letters()
            await outbox.undelivered("alpha")
    finally:
        other.close()
