"""The thread that owns a resource."""

import threading

import anyio
import anyio.to_thread
import pytest

from anytrack_async.outbox.sqlite.thread import Job, OwnerThread

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
    made = []
    thread = OwnerThread(lambda: made.append(Resource()) or made[0], Resource.close)
    await thread.start()
    for _ in range(3):
        await thread.run(Resource.use)
    await thread.stop()

    (resource,) = made
    assert resource.closed
    assert len(resource.threads) == 1
    assert threading.get_ident() not in resource.threads


async def test_errors_reach_who_asked_and_the_thread_goes_on():
    thread = OwnerThread(Resource, Resource.close)
    await thread.start()

    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda _: 1 / 0)
    assert await thread.run(lambda _: 42) == 42
    await thread.stop()


async def test_who_gives_up_opening_leaves_nothing_open():
    go, made = threading.Event(), []
    closed = threading.Event()

    def slowly():
        go.wait(5)
        made.append(Resource())
        return made[0]

    thread = OwnerThread(slowly, lambda resource: (resource.close(), closed.set()))
    with anyio.move_on_after(0.01):
        await thread.start()
    go.set()
    await anyio.to_thread.run_sync(closed.wait, 5)

    assert made[0].closed


async def test_what_cannot_be_opened_says_why_and_leaves_no_thread():
    started = []

    def fail():
        started.append(threading.current_thread())
        raise OSError("made up")

    with pytest.raises(OSError, match="made up"):
        await OwnerThread(fail, Resource.close).start()

    await anyio.to_thread.run_sync(started[0].join, 5)
    assert not started[0].is_alive()


async def test_work_goes_on_when_the_loop_that_asked_is_gone():
    thread = OwnerThread(Resource, Resource.close)
    await thread.start()
    go = threading.Event()
    done = threading.Event()

    def in_a_loop_that_ends():
        async def ask():
            thread.post(Job(lambda _: go.wait(5)))

        anyio.run(ask)

    await anyio.to_thread.run_sync(in_a_loop_that_ends)
    go.set()
    await thread.run(lambda _: done.set())

    assert done.is_set()
    await thread.stop()
