"""The server crashes, is restored elsewhere, or loses the connection in the middle of a call."""

import subprocess

import anyio
import asyncpg
import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.outbox.postgres.schema import in_schema
from anytrack_async.testing.outbox_rules.base import LEASE, Clock, deliver, orders, sales
from tests.servers.postgres import find_programs

pytestmark = pytest.mark.asyncio


async def execute(dsn, *statements):
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_a_worker_whose_lease_was_lost_in_a_crash_ends_no_other_lease(own_postgres):
    # Nothing is written for ten seconds unless a commit waits for it: so the claims are lost.
    await execute(
        own_postgres.dsn,
        "ALTER SYSTEM SET wal_writer_delay = '10s'",
        "SELECT pg_reload_conf()",
    )
    outbox, other = (PostgresOutbox(own_postgres.dsn, schema="crash") for _ in range(2))
    for each in (outbox, other):
        await each.open(["alpha"])
    await outbox.append(sales(*range(9)))
    lost = [await outbox.claim("alpha", 3, LEASE) for _ in range(3)]
    assert [orders(claim) for claim in lost] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]

    await anyio.to_thread.run_sync(own_postgres.crash)
    with pytest.raises(OutboxError):
        await outbox.append(sales(10))
    await anyio.to_thread.run_sync(own_postgres.start)
    again = [await _claim(other, 3) for _ in range(3)]

    assert [orders(claim) for claim in again] == [orders(claim) for claim in lost]
    assert [await outbox.settle(claim) for claim in lost] == [False] * 3
    assert [await outbox.renew(claim, LEASE) for claim in lost] == [False] * 3
    assert [await other.settle(claim) for claim in again] == [True] * 3
    assert list(await outbox.append(sales(0, 10))) == [Appended.REPEAT, Appended.NEW]
    assert await deliver(outbox, "alpha") == [10]
    for each in (outbox, other):
        await each.aclose()


async def _claim(outbox, limit):
    """Claim from a server that was restarted: the first connections are closed ones."""
    for _ in range(5):
        try:
            return await outbox.claim("alpha", limit, LEASE)
        except OutboxError:
            continue
    raise AssertionError("no connection after a restart")


async def test_a_worker_that_wakes_after_its_lease_changes_nothing(make_outbox):
    clock = Clock()
    sleeper, worker = make_outbox(clock=clock), make_outbox(clock=clock)
    for outbox in (sleeper, worker):
        await outbox.open(["alpha"])
    await sleeper.append(sales(1, 2))
    lost = await sleeper.claim("alpha", 2, LEASE)
    clock.advance(LEASE)
    claim = await worker.claim("alpha", 2, LEASE)

    assert not await sleeper.settle(lost)
    assert not await sleeper.release(lost, due=clock.now, counts_as_attempt=True)
    assert (await worker.depths())["alpha"].in_flight == 2
    assert await worker.settle(claim)
    assert not await worker.settle(claim)
    for outbox in (sleeper, worker):
        await outbox.aclose()


async def test_leases_and_due_times_do_not_depend_on_the_clocks_of_workers(
    make_outbox, monkeypatch
):
    import time

    from anytrack_async.outbox.base import FailedEntry

    real = time.time
    fast, slow = make_outbox(), make_outbox()
    for outbox, hours in ((fast, 1), (slow, -1)):
        monkeypatch.setattr(outbox, "_caller_now", lambda hours=hours: real() + 3600 * hours)
        await outbox.open(["alpha"])
    await fast.append(sales(1, 2))
    claim = await slow.claim("alpha", 1, LEASE)
    assert abs(claim.entries[0].accepted_at - (real() - 3600)) < 30

    assert orders(await fast.claim("alpha", 2, LEASE)) == [2]
    soon = real() - 3600 + 30
    entry = FailedEntry(seq=claim.entries[0].seq, attempts=1, error="later", due=soon)
    assert await slow.settle(claim, [entry])
    waiting = await fast.claim("alpha", 2, LEASE)
    assert not waiting.entries
    assert abs(waiting.next_due - (real() + 3600 + 30)) < 30
    for outbox in (fast, slow):
        await outbox.aclose()


async def test_after_a_restore_into_another_server_new_conversions_are_delivered(
    make_outbox, postgres_dsn, postgres_schema, own_postgres, connect
):
    outbox = make_outbox()
    await outbox.open(["alpha"])
    await outbox.append(sales(1, 2))
    assert orders(await outbox.claim("alpha", 1, LEASE)) == [1]
    await outbox.append(sales(3))  # it has no position yet
    await outbox.aclose()
    source = await connect()
    # The other server has used up fewer transactions.
    await source.execute(
        "DO 'BEGIN FOR i IN 1..$1 LOOP PERFORM txid_current(); COMMIT; END LOOP; END'".replace(
            "$1", str(await _next_xid(own_postgres))
        )
    )
    await outbox.open(["alpha"])
    await outbox.append(sales(4))
    await outbox.claim("alpha", 0, LEASE)
    await outbox.depths()  # numbers what was committed, so that a snapshot of this moment is stored
    await outbox.append(sales(5))
    await outbox.aclose()
    await anyio.to_thread.run_sync(_copy, postgres_dsn, own_postgres.dsn, postgres_schema)

    restored = PostgresOutbox(own_postgres.dsn, schema=postgres_schema)
    await restored.open(["alpha"])
    await restored.append(sales(6, 7))

    assert await deliver(restored, "alpha") == [2, 3, 4, 5, 6, 7]
    assert await deliver(restored, "alpha") == []
    await restored.append(sales(8))
    assert await deliver(restored, "alpha") == [8]
    await restored.aclose()


async def _next_xid(server):
    connection = await asyncpg.connect(server.dsn)
    xid = await connection.fetchval("SELECT txid_current()")
    await connection.close()
    return xid


def _copy(source, target, schema):
    programs = find_programs()
    dump = subprocess.run(
        [programs / "pg_dump", "--schema", schema, source], check=True, capture_output=True
    )
    subprocess.run(
        [programs / "psql", "--quiet", "--set", "ON_ERROR_STOP=1", target],
        input=dump.stdout,
        check=True,
        stdout=subprocess.DEVNULL,
    )


async def test_what_was_written_to_a_restored_database_before_any_claim_is_found_by_pruning(
    outbox, connect
):
    await outbox.append(sales(1))
    assert await deliver(outbox, "alpha") == [1]
    connection = await connect()
    await outbox.append(sales(2))
    # As if it had been written in a transaction that the stored snapshot takes for an old one.
    await connection.execute(in_schema("UPDATE anytrack.arrival SET xid = '3'", outbox.schema))
    assert await deliver(outbox, "alpha") == []

    await outbox.prune(remember=3600)

    assert await deliver(outbox, "alpha") == [2]


async def test_a_lease_of_a_cancelled_claim_is_returned(outbox):
    await outbox.append(sales(1, 2, 3))
    for _ in range(5):
        with anyio.move_on_after(0):
            await outbox.claim("alpha", 3, LEASE)
    with anyio.move_on_after(0.001):
        await outbox.claim("alpha", 3, LEASE)

    claim = await outbox.claim("alpha", 3, LEASE)

    assert orders(claim) == [1, 2, 3]
    assert {entry.attempts for entry in claim.entries} == {0}
