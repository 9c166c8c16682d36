"""Several processes on one file, processes that are killed, and processes that fork."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref

import anyio
import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.thread import Job, OwnerThread
from anytrack_async.testing.outbox_contract import LEASE, sale, sales

WORKER = """
import sys, anyio
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

async def main():
    outbox = SQLiteOutbox(sys.argv[1])
    await outbox.open(["alpha"])
    print("ready", flush=True)
    sys.stdin.readline()
    while (claim := await outbox.claim("alpha", 7, 60)).entries:
        assert await outbox.settle(claim)
        print(*(entry.conversion.event_id for entry in claim.entries), flush=True)
    await outbox.aclose()

anyio.run(main)
"""

WRITER = """
import sys, anyio
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

async def write(outbox, task):
    number = task
    while True:
        conversion = Conversion.sale(revenue=1, order_id=str(number))
        await outbox.append([conversion])
        print(conversion.event_id, flush=True)
        number += 10

async def main():
    outbox = SQLiteOutbox(sys.argv[1])
    await outbox.open(["alpha"])
    async with anyio.create_task_group() as tasks:
        for task in range(10):
            tasks.start_soon(write, outbox, task)

anyio.run(main)
"""


def start(script, path):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.asyncio
async def test_two_processes_share_the_work_and_do_nothing_twice(path):
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    await outbox.append(sales(*range(400)))
    workers = [start(WORKER, path) for _ in range(2)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    delivered = [worker.communicate(timeout=20)[0].split() for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0]
    assert all(delivered)
    assert sorted(delivered[0] + delivered[1]) == sorted(f"sale:{n}" for n in range(400))
    assert (await outbox.depths())["alpha"].waiting == 0
    await outbox.aclose()


@pytest.mark.asyncio
async def test_accepted_conversions_survive_kill_9(path):
    writer = start(WRITER, path)
    accepted = [writer.stdout.readline().strip() for _ in range(300)]
    writer.send_signal(signal.SIGKILL)
    output = writer.communicate(timeout=10)[0]
    accepted += output[: output.rfind("\n") + 1].split()

    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    claimed = []
    while (claim := await outbox.claim("alpha", 100, LEASE)).entries:
        claimed += [entry.conversion.event_id for entry in claim.entries]
        await outbox.settle(claim)
    await outbox.aclose()

    assert len(accepted) >= 300
    assert set(accepted) <= set(claimed)
    assert len(claimed) == len(set(claimed))


def test_processes_can_create_a_file_at_the_same_time(path):
    workers = [start(WORKER, path) for _ in range(3)]
    for worker in workers:
        worker.communicate("go\n", timeout=20)

    assert [worker.returncode for worker in workers] == [0, 0, 0]


# Forking

FORKING = """
import os, signal, sys, anyio
from anytrack_async.errors import OutboxError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

async def main():
    outbox = SQLiteOutbox(sys.argv[1])
    await outbox.open(["alpha"])
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        return await outbox.aclose()
    code = 1
    signal.alarm(5)
    try:
        await outbox.append([Conversion.sale(order_id="1", revenue=1, currency="USD")])
    except OutboxError as exc:
        code = 7 if "forked" in str(exc) else 2
    finally:
        os._exit(code)

anyio.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_appends_nothing_to_the_outbox_of_its_parent(path):
    subprocess.run([sys.executable, "-c", FORKING, path], check=True, timeout=30)


@pytest.mark.asyncio
async def test_a_forked_process_must_open_the_outbox_again(outbox, monkeypatch):
    parent = outbox._thread
    with monkeypatch.context() as child:
        child.setattr(outbox._thread, "in_this_process", False)
        for _ in range(2):
            with pytest.raises(OutboxError, match="forked"):
                await outbox.append([sale(1)])
        await parent.stop()
        await outbox.open(["alpha"])
        await outbox.append([sale(1)])
        await outbox.aclose()

    count = await parent.run(lambda db: db.sql.execute("SELECT count(*) FROM log").fetchone())
    assert count == (1,)
    await parent.stop()


@pytest.mark.asyncio
async def test_a_forked_process_does_not_join_a_group_of_its_parent(outbox, monkeypatch):
    """The parent's thread does not run in the child: an append there would never return."""
    go = threading.Event()
    outbox._thread.post(Job(lambda _: go.wait(10)))
    task = asyncio.ensure_future(outbox.append([sale(1)]))
    await anyio.wait_all_tasks_blocked()
    with monkeypatch.context() as child:
        child.setattr(outbox._thread, "in_this_process", False)
        with anyio.fail_after(5), pytest.raises(OutboxError, match="forked"):
            await outbox.append([sale(2)])

    go.set()
    assert await task == [Appended.NEW]
    assert not await outbox.reports(["sale:2"])


@pytest.mark.asyncio
@pytest.mark.parametrize("closes_first", [True, False])
async def test_an_inherited_connection_is_never_garbage_collected(path, closes_first):
    outbox = SQLiteOutbox(path)
    # A running thread would keep itself alive here; in a child, nothing else does.
    outbox._thread = OwnerThread(lambda: None, lambda _: None)
    outbox._thread.in_this_process = False
    inherited = weakref.ref(outbox._thread)

    if closes_first:
        await outbox.aclose()
    for _ in range(2):
        await outbox.open(["alpha"])
        await outbox.append([sale(1)])
        await outbox.aclose()
    del outbox
    gc.collect()

    assert inherited() is not None
