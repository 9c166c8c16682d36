"""Transactions that commit in another order than they began, late or never lose nothing."""

import asyncio

import pytest

from anytrack_async.codec.encryption import KeyRing, new_key
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.postgres.append import APPEND_ONE
from anytrack_async.testing.outbox_rules.base import LEASE, deliver, orders, sales
from tests.outbox.postgres.append_helpers import append_on

pytestmark = pytest.mark.asyncio

NEW, REPEAT = Appended.NEW, Appended.REPEAT


async def test_a_late_commit_arrives_everywhere_and_delays_nobody(outbox, connect):
    writer = await connect()
    late = writer.transaction()
    await late.start()
    await append_on(writer, outbox.schema, 1)
    for order in range(2, 30):
        await outbox.append(sales(order))
    assert await deliver(outbox, "alpha", "beta") == [*range(2, 30)] * 2

    await late.commit()

    assert await deliver(outbox, "alpha", "beta") == [1, 1]
    assert (await outbox.depths())["alpha"].waiting == 0


@pytest.mark.parametrize("reads_first", [False, True])
async def test_transactions_that_end_crosswise_are_all_delivered(outbox, connect, reads_first):
    writers = [await connect() for _ in range(6)]
    transactions = [writer.transaction() for writer in writers]
    for transaction, writer in zip(transactions, writers, strict=True):
        await transaction.start()
        # Some take their transaction id before they append.
        await writer.execute("SELECT 1" if reads_first else "SELECT pg_current_xact_id()")
    delivered: list[int] = []
    for number, writer in enumerate(writers):
        await append_on(writer, outbox.schema, number)
        delivered += await deliver(outbox, "alpha")
    for number in (4, 0, 5, 2, 1, 3):
        await transactions[number].commit()
        delivered += await deliver(outbox, "alpha")

    assert delivered == [4, 0, 5, 2, 1, 3]


async def test_a_rolled_back_append_never_arrives_and_its_number_stops_nobody(outbox, connect):
    writer = await connect()
    transaction = writer.transaction()
    await transaction.start()
    assert await append_on(writer, outbox.schema, 1, 2) == [NEW, NEW]
    await outbox.append(sales(3))
    await transaction.rollback()
    await outbox.append(sales(4))

    assert await deliver(outbox, "alpha") == [3, 4]
    assert await outbox.reports(["sale:1"]) == {}
    assert list(await outbox.append(sales(1))) == [NEW]
    assert await deliver(outbox, "alpha") == [1]


async def test_a_rollback_to_a_savepoint_takes_back_only_what_came_after_it(outbox, connect):
    writer = await connect()
    async with writer.transaction():
        await append_on(writer, outbox.schema, 1)
        savepoint = writer.transaction()
        await savepoint.start()
        await append_on(writer, outbox.schema, 2)
        await savepoint.rollback()
        async with writer.transaction():
            await append_on(writer, outbox.schema, 3)
        assert await deliver(outbox, "alpha") == []

    assert await deliver(outbox, "alpha", "beta") == [1, 3, 1, 3]


async def test_a_prepared_transaction_is_delivered_after_its_commit(outbox, connect):
    writer = await connect()
    await writer.execute("BEGIN")
    await append_on(writer, outbox.schema, 1)
    await writer.execute(f"PREPARE TRANSACTION '{outbox.schema}'")
    await outbox.append(sales(2))
    assert await deliver(outbox, "alpha") == [2]

    await writer.execute(f"COMMIT PREPARED '{outbox.schema}'")

    assert await deliver(outbox, "alpha") == [1]


async def test_a_lone_append_is_one_statement_that_lists_the_key_if_there_is_one(
    outbox, make_outbox, note_statements
):
    encrypted = make_outbox(keys=KeyRing(new_key()))
    await encrypted.open(["alpha"])
    for each in (outbox, encrypted):
        each._counts.is_paused = True  # no counts travel with the append
    ran = note_statements(outbox, encrypted)
    await outbox.append(sales(1))
    await encrypted.append(sales(2))
    await encrypted.aclose()

    lone, with_key, *others = [sql for sql in ran if "depths" not in sql]
    assert lone == APPEND_ONE
    assert "list_key" in with_key
    assert not [sql for sql in others if "append" in sql]


async def test_a_repeat_of_an_uncommitted_append_waits_for_it(outbox, connect):
    writer = await connect()
    transaction = writer.transaction()
    await transaction.start()
    await append_on(writer, outbox.schema, 1)
    again = asyncio.create_task(outbox.append(sales(1, 2)))
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    watcher = await connect()
    while not await watcher.fetchval(blocked):
        assert not again.done()

    await transaction.commit()

    assert list(await again) == [REPEAT, NEW]
    assert await deliver(outbox, "alpha") == [1, 2]


async def test_single_appends_that_wait_for_a_transaction_hold_nobody_up(outbox, connect):
    writer, watcher = await connect(), await connect()
    transaction = writer.transaction()
    await transaction.start()
    await append_on(writer, outbox.schema, 1, 2, 3, 4)
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(30):  # both are in one group
        repeats = [asyncio.create_task(outbox.append(sales(1)))]
        await asyncio.sleep(0)
        assert list(await outbox.append(sales(5))) == [NEW]
    for order in (2, 3, 4):
        repeats.append(asyncio.create_task(outbox.append(sales(order))))
        while await watcher.fetchval(blocked) < min(order, 2):  # two wait in the database
            assert not repeats[-1].done()

    async with asyncio.timeout(30):
        for order in (6, 7):
            assert list(await outbox.append(sales(order))) == [NEW]
    assert await deliver(outbox, "alpha") == [5, 6, 7]
    assert not any(repeat.done() for repeat in repeats)
    await transaction.commit()

    assert [list(await repeat) for repeat in repeats] == [[REPEAT]] * 4
    assert await deliver(outbox, "alpha") == [1, 2, 3, 4]


async def test_a_call_that_is_cancelled_while_it_waits_for_its_turn_is_not_written(outbox, connect):
    writer = await connect()
    transaction = writer.transaction()
    await transaction.start()
    await append_on(writer, outbox.schema, 1, 2)
    waiting = [asyncio.create_task(outbox.append(sales(order))) for order in (1, 2)]
    watcher = await connect()
    while len(outbox._log._aside) < 2:
        await watcher.fetchval("SELECT 1")
    late = [asyncio.create_task(outbox.append(sales(number, 2))) for number in (3, 4)]
    while len(outbox._log._aside) < 4:
        await watcher.fetchval("SELECT 1")
    late[0].cancel()
    await transaction.commit()

    assert list(await late[1]) == [NEW, REPEAT]
    assert [list(await call) for call in waiting] == [[REPEAT]] * 2
    assert await deliver(outbox, "alpha") == [1, 2, 4]


async def test_crossed_event_ids_end_in_one_error_and_nothing_is_lost(outbox, connect):
    first, second = await connect(), await connect()
    for writer, order in ((first, 1), (second, 2)):
        await writer.execute("SET deadlock_timeout = '50ms'")
        await writer.execute("BEGIN")
        await append_on(writer, outbox.schema, order)

    crossed = await asyncio.gather(
        append_on(first, outbox.schema, 2),
        append_on(second, outbox.schema, 1),
        return_exceptions=True,
    )

    failed = [isinstance(result, Exception) for result in crossed]
    assert sorted(failed) == [False, True]
    for writer, has_failed in zip((first, second), failed, strict=True):
        await writer.execute("ROLLBACK" if has_failed else "COMMIT")
    assert list(await outbox.append(sales(1, 2))) == [REPEAT, REPEAT]
    assert sorted(await deliver(outbox, "alpha")) == [1, 2]


async def test_a_long_transaction_elsewhere_delays_no_claim(outbox, connect):
    reader, writer = await connect(), await connect()
    await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await reader.fetchval("SELECT count(*) FROM pg_class")
    await writer.execute("BEGIN")
    await writer.execute("SELECT pg_current_xact_id()")

    for order in range(20):
        await outbox.append(sales(order))
        assert orders(await outbox.claim("alpha", 9, LEASE)) == [order]


async def test_many_writers_and_two_claimers_deliver_each_conversion_once(outbox, make_outbox):
    other = make_outbox()
    await other.open([])
    delivered: list[int] = []
    writing = True

    async def write(first):
        for start in range(first, first + 100, 10):
            await outbox.append(sales(*range(start, start + 10)))

    async def claim(claimer):
        while True:
            is_last = not writing
            claim = await claimer.claim("alpha", 7, LEASE)
            if claim.entries:
                delivered.extend(orders(claim))
                assert await claimer.settle(claim)
            elif is_last:
                return

    claimers = [asyncio.create_task(claim(claimer)) for claimer in (outbox, other)]
    await asyncio.gather(*(write(first) for first in range(0, 400, 100)))
    writing = False
    await asyncio.gather(*claimers)
    await other.aclose()

    assert sorted(delivered) == list(range(400))


async def test_isolation_that_would_overlook_conversions_is_refused(outbox, connect):
    connection = await connect()
    async with connection.transaction(isolation="repeatable_read"):
        with pytest.raises(Exception, match="READ COMMITTED"):
            await connection.execute(f"SELECT {outbox.schema}.sequence_v1()")
