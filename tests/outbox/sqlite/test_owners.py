"""Owners of an outbox file: those that died are recognised at once, those that live never are."""

import os
import signal
import subprocess
import sys
import time

import anyio
import pytest

from anytrack_async.outbox.sqlite import owners
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sales

pytestmark = pytest.mark.asyncio

HOLDER = """
import multiprocessing, os, sys, time
import anyio
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

async def main(path, limits, fork):
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    claims = [await outbox.claim("alpha", limit, 60) for limit in limits]
    if fork:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        print(child.pid, flush=True)
    print("holding", *(len(claim.entries) for claim in claims), flush=True)
    sys.stdin.readline()
    print(*[await outbox.settle(claim) for claim in claims], flush=True)
    await outbox.aclose()

anyio.run(main, sys.argv[1], [int(limit) for limit in sys.argv[2].split(",")], len(sys.argv) > 3)
"""


def hold(path, limits="2", *more):
    """Start a process that claims with each of *limits*, and settles after a line of input."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLDER, str(path), limits, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process):
    process.kill()
    process.communicate()


def orders(claim):
    return [entry.conversion.order_id for entry in claim.entries]


def lock_files(path):
    return list(path.parent.glob("outbox.db-owner-*"))


async def reopen(path, *names, **options):
    outbox = SQLiteOutbox(path, **options)
    await outbox.open(names or ["alpha"])
    return outbox


async def test_a_new_owner_takes_over_what_a_killed_one_had(outbox, path):
    await outbox.append(sales(1, 2, 3))
    process = hold(path, "2,1")
    assert process.stdout.readline() == "holding 2 1\n"
    kill(process)
    new = await reopen(path)

    claim = await new.claim("alpha", 9, LEASE)

    assert orders(claim) == ["1", "2", "3"]
    assert set(claim.entries.attempts) == {1}
    assert set(claim.lost_leases.values()) == {1}
    await new.settle(claim)
    await new.aclose()
    assert len(lock_files(path)) == 1  # of the fixture's outbox


async def test_a_living_owner_takes_over_while_it_has_work_of_its_own(path, monkeypatch):
    monkeypatch.setattr(owners, "_CHECK_INTERVAL", 0.0)
    outbox = await reopen(path)
    await outbox.append(sales(*range(10)))
    process = hold(path)
    process.stdout.readline()
    assert orders(await outbox.claim("alpha", 1, LEASE)) == ["2"]
    kill(process)

    assert orders(await outbox.claim("alpha", 2, LEASE)) == ["0", "1"]
    await outbox.aclose()


async def test_a_stopped_owner_keeps_its_leases_until_they_expire(path, monkeypatch, clock):
    monkeypatch.setattr(owners, "_CHECK_INTERVAL", 0.0)
    clock.now = time.time()
    outbox = await reopen(path, clock=clock)
    await outbox.append(sales(1, 2))
    process = hold(path)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)

    early = await outbox.claim("alpha", 9, LEASE)
    clock.advance(LEASE + 60)
    late = await outbox.claim("alpha", 9, LEASE)
    assert await outbox.settle(late)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate("go\n", timeout=20)

    assert (orders(early), orders(late)) == ([], ["1", "2"])
    assert output == "False\n"  # it woke up too late, and settled nothing
    await outbox.aclose()


async def test_a_child_does_not_keep_the_leases_of_its_dead_parent(outbox, path, monkeypatch):
    monkeypatch.setattr(owners, "_CHECK_INTERVAL", 0.0)
    await outbox.append(sales(1, 2))
    process = hold(path, "2", "fork")
    child = int(process.stdout.readline())
    process.stdout.readline()
    process.kill()
    process.wait()
    try:
        new = await reopen(path)
        with anyio.fail_after(10):  # the child may not have run yet
            while not (claim := await new.claim("alpha", 9, LEASE)).entries:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert orders(claim) == ["1", "2"]
        await new.aclose()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


async def test_several_owners_in_one_process_keep_their_leases(outbox, path, monkeypatch):
    monkeypatch.setattr(owners, "_CHECK_INTERVAL", 0.0)
    await outbox.append(sales(1, 2, 3))
    first, second = await reopen(path), await reopen(path)
    claim = await first.claim("alpha", 1, 1e9)
    await second.claim("alpha", 1, 1e9)
    await second.aclose()

    third = await reopen(path)
    assert orders(await third.claim("alpha", 9, 1e9)) == ["2", "3"]
    assert await first.settle(claim)
    await first.aclose()
    await third.aclose()


async def test_what_an_owner_left_when_it_closed_counts_no_attempt(outbox, path):
    await outbox.append(sales(1))
    first = await reopen(path)
    await first.claim("alpha", 1, 1e9)
    await first.aclose()
    second = await reopen(path)

    claim = await second.claim("alpha", 1, LEASE)

    assert (orders(claim), list(claim.entries.attempts), claim.lost_leases) == (["1"], [0], {})
    await second.aclose()


async def test_only_an_isolated_conversion_is_blamed_for_the_death_of_its_owner(outbox, path):
    await outbox.append(sales(1, 2))
    for _ in range(2):
        process = hold(path, "2")
        process.stdout.readline()
        kill(process)
    await outbox.append(sales(3, 4))
    process = hold(path, "9,1")
    assert process.stdout.readline() == "holding 1 1\n"
    kill(process)
    new = await reopen(path)

    claims = [await new.claim("alpha", 9, LEASE) for _ in range(2)]

    assert [orders(claim) for claim in claims] == [["2"], ["3", "4"]]
    assert [list(claim.entries.attempts) for claim in claims] == [[2], [0, 0]]
    assert await new.settle(claims[0])
    assert list((await new.claim("alpha", 9, LEASE)).entries.attempts) == [3]
    await new.aclose()


async def test_isolated_conversions_with_attempts_left_are_sent_at_the_same_time(outbox, path):
    await outbox.append(sales(1, 2, 3))
    for _ in range(2):
        process = hold(path, "3")
        process.stdout.readline()
        kill(process)
    new = SQLiteOutbox(path)
    new.attach(4)
    await new.open(["alpha"])

    claims = [await new.claim("alpha", 9, 1e9) for _ in range(3)]

    assert [orders(claim) for claim in claims] == [["1"], ["2"], ["3"]]
    await new.aclose()


async def test_without_locks_leases_only_expire(path, monkeypatch, clock):
    monkeypatch.setattr(owners, "_lock", lambda _: False)
    monkeypatch.setattr(owners, "_CHECK_INTERVAL", 0.0)
    first, second = await reopen(path, clock=clock), await reopen(path, clock=clock)
    await first.append(sales(1))
    await first.claim("alpha", 1, LEASE)
    await first.aclose()

    assert not orders(await second.claim("alpha", 1, LEASE))
    clock.advance(LEASE)
    assert orders(await second.claim("alpha", 1, LEASE)) == ["1"]
    assert not lock_files(path)
    await second.aclose()


async def test_a_deleted_lock_file_proves_nothing(outbox, path, monkeypatch):
    monkeypatch.setattr(owners, "_CHECK_INTERVAL", 0.0)
    await outbox.append(sales(1))
    await outbox.claim("alpha", 1, 1e9)
    for file in lock_files(path):
        file.unlink()
    new = await reopen(path)

    assert not orders(await new.claim("alpha", 1, LEASE))
    await new.aclose()


async def test_lock_files_of_dead_owners_are_deleted(outbox, path):
    process = hold(path)
    process.stdout.readline()
    kill(process)
    path.with_name(f"outbox.db-owner-{7:016x}").touch()
    assert len(lock_files(path)) == 3
    with anyio.fail_after(10):
        new = await reopen(path)

    assert len(lock_files(path)) == 2
    await new.aclose()
    assert len(lock_files(path)) == 1
