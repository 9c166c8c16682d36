"""The thread that owns a resource, and futures that a thread resolves."""

import asyncio
import threading

import anyio
import anyio.to_thread
import pytest

from anytrack_async.outbox.sqlite.thread import Job, OwnerThread, resolve

pytestmark = pytest.mark.asyncio


class Resource:
    def __init__(self):
        self.threads = {threading.get_ident()}
        self.closed = False

    def use(self):
        self.threads.add(threading.get_ident())

    def close(self):
        self.use()
        self.closed = True


async def test_one_other_thread_does_everything():
    resources = []
    thread = OwnerThread(lambda: resources.append(Resource()) or resources[0], Resource.close)
    await thread.start()
    for _ in range(3):
        await thread.run(Resource.use)
    await thread.stop()

    (resource,) = resources
    assert resource.closed
    assert len(resource.threads) == 1
    assert threading.get_ident() not in resource.threads


async def test_an_error_reaches_its_caller_and_the_thread_continues():
    thread = OwnerThread(Resource, Resource.close)
    await thread.start()

    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda _: 1 / 0)
    assert await thread.run(lambda _: 42) == 42
    await thread.stop()


async def test_cancelling_start_leaves_nothing_open():
    go, resources = threading.Event(), []
    closed = threading.Event()

    def slowly():
        go.wait(5)
        resources.append(Resource())
        return resources[0]

    thread = OwnerThread(slowly, lambda resource: (resource.close(), closed.set()))
    with anyio.move_on_after(0.01):
        await thread.start()
    go.set()
    await anyio.to_thread.run_sync(closed.wait, 5)

    assert resources[0].closed


async def test_start_raises_the_error_of_opening_and_leaves_no_thread():
    threads = []

    def fail():
        threads.append(threading.current_thread())
        raise OSError("made up")

    with pytest.raises(OSError, match="made up"):
        await OwnerThread(fail, Resource.close).start()

    await anyio.to_thread.run_sync(threads[0].join, 5)
    assert not threads[0].is_alive()


async def test_the_thread_continues_when_the_event_loop_of_a_job_is_closed():
    thread = OwnerThread(Resource, Resource.close)
    await thread.start()
    go = threading.Event()
    finished = threading.Event()

    def in_a_loop_that_ends():
        async def post():
            thread.post(Job(lambda _: go.wait(5)))

        anyio.run(post)

    await anyio.to_thread.run_sync(in_a_loop_that_ends)
    go.set()
    await thread.run(lambda _: finished.set())

    assert finished.is_set()
    await thread.stop()


# Futures


def new_future():
    return asyncio.get_running_loop().create_future()


async def result_of(future):
    return await future


async def test_a_thread_resolves_futures():
    futures = [new_future() for _ in range(3)]

    await anyio.to_thread.run_sync(resolve, zip(futures, "abc", strict=True))

    with anyio.fail_after(5):
        assert [await future for future in futures] == ["a", "b", "c"]


@pytest.mark.filterwarnings("error")
async def test_a_cancelled_task_does_not_affect_the_results_of_others():
    futures = [new_future() for _ in range(3)]
    tasks = [asyncio.ensure_future(result_of(future)) for future in futures]
    await anyio.wait_all_tasks_blocked()
    tasks[1].cancel()

    resolve(zip(futures, "abc", strict=True))

    with anyio.fail_after(5):
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, third) == ("a", "c")
    assert isinstance(second, asyncio.CancelledError)


async def test_a_closed_event_loop_does_not_affect_the_results_of_others():
    async def elsewhere():
        return new_future()

    orphan = await anyio.to_thread.run_sync(asyncio.run, elsewhere())
    here = new_future()

    resolve([(orphan, "lost"), (here, "received")])

    with anyio.fail_after(5):
        assert await here == "received"
