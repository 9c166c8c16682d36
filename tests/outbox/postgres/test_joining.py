"""Conversions in transactions of the caller's: the order and its conversion, both or neither."""

from __future__ import annotations

from asyncio import gather

import anyio
import asyncpg
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from anytrack_async import (
    AnyTrack,
    AnyTrackClient,
    BackPressureEnded,
    Customer,
    DeliverySettings,
    Dropped,
    InvalidArgumentError,
    QueueFullError,
    UnsendableError,
)
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.outbox import checks
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.capabilities import JoinableOutbox
from anytrack_async.outbox.transactions import execute_within_sync
from anytrack_async.testing.outbox_rules.base import deliver, sale, sales
from tests.delivery.doubles import BlockingAnswer, FakeSink, World
from tests.outbox.postgres.orders import PROGRAMS, SYNC_PROGRAMS, sell

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def shop(make_outbox, postgres_dsn, postgres_schema):
    """An open outbox for "alpha", beside an empty table of orders."""
    outbox = make_outbox(capacity=100)
    await outbox.open(["alpha"])
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {postgres_schema}.orders (number int)")
    yield outbox
    await outbox.aclose()


@pytest.fixture
def orders_in_table(postgres_dsn, postgres_schema):
    def read():
        with psycopg.connect(postgres_dsn) as connection:
            rows = connection.execute(f"SELECT * FROM {postgres_schema}.orders ORDER BY 1")
            return [number for (number,) in rows]

    return read


@pytest.fixture
def connect(postgres_dsn):
    return lambda: asyncpg.connect(postgres_dsn, command_timeout=10)


@pytest.mark.parametrize("first", ["order", "conversion"])
@pytest.mark.parametrize("kind", PROGRAMS)
async def test_an_order_and_its_conversion_are_stored_both_or_neither(
    shop, postgres_dsn, postgres_schema, orders_in_table, kind, first
):
    for number, commits in ((1, False), (2, True)):
        async with PROGRAMS[kind](postgres_dsn, postgres_schema) as program:
            await sell(program, shop, number, first=first)
            assert not await deliver(shop, "alpha")
            await program.end(commits)

    assert orders_in_table() == [2] == await deliver(shop, "alpha")
    assert isinstance(shop, JoinableOutbox)


@pytest.mark.parametrize("kind", SYNC_PROGRAMS)
async def test_programs_without_an_event_loop_store_both_or_neither(
    shop, postgres_dsn, postgres_schema, orders_in_table, kind
):
    def run(number, *, fails):
        with SYNC_PROGRAMS[kind](postgres_dsn, postgres_schema) as (connection, insert):
            row = execute_within_sync(
                connection, lambda style: shop.append_statement([sale(number)], style=style)
            )
            insert(number)
            assert shop.append_results([sale(number)], row) == [Appended.NEW]
            if fails:
                raise ZeroDivisionError

    await anyio.to_thread.run_sync(lambda: run(1, fails=False))
    with pytest.raises(ZeroDivisionError):
        await anyio.to_thread.run_sync(lambda: run(2, fails=True))

    assert orders_in_table() == [1] == await deliver(shop, "alpha")


async def test_a_savepoint_that_is_rolled_back_takes_its_conversion_along(shop, postgres_dsn):
    engine = create_async_engine(postgres_dsn.replace("postgresql:", "postgresql+asyncpg:"))
    async with AsyncSession(engine) as session:
        await shop.append_within(session, [sale(1)])
        async with session.begin_nested() as savepoint:
            await shop.append_within(session, [sale(2)])
            await savepoint.rollback()
        await shop.append_within(session, [sale(3)])
        await session.commit()
    await engine.dispose()

    assert await deliver(shop, "alpha") == [1, 3]


async def test_the_results_tell_repeats_and_contradictions(shop, connect):
    await shop.append(sales(1, 2))
    connection = await connect()
    async with connection.transaction():
        results = await shop.append_within(
            connection, [sale(1), sale(2, revenue=99), sale(3)], ["alpha"]
        )
        assert await shop.append_within(connection, []) == []
    await connection.close()

    assert (results[0], results[2]) == (Appended.REPEAT, Appended.NEW)
    assert isinstance(results[1], Contradiction)


async def test_a_repeat_of_an_uncommitted_append_waits_for_its_end(shop, connect):
    first, answers = await connect(), []

    async def append_again():
        answers.extend(await shop.append([sale(1), sale(2)]))

    async with anyio.create_task_group() as tasks:
        async with first.transaction():
            await shop.append_within(first, [sale(1)])
            tasks.start_soon(append_again)
            await until_somebody_waits(first)
            assert not answers
    assert answers == [Appended.REPEAT, Appended.NEW]
    await first.close()


async def test_transactions_with_crossed_ids_end_with_one_error_and_nothing_lost(shop, connect):
    first, second = await connect(), await connect()
    errors = []

    async def append(connection, number):
        try:
            await shop.append_within(connection, [sale(number)])
        except asyncpg.DeadlockDetectedError as exc:
            errors.append(exc)

    for connection in (first, second):
        await connection.execute("SET deadlock_timeout = '10ms'; BEGIN")
    await append(first, 1)
    await append(second, 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append, first, 2)
        await until_somebody_waits(second)
        await append(second, 1)
        if errors:  # the server has ended the second one: let the first go on
            await second.execute("ROLLBACK")
    for connection in (first, second):
        await connection.execute("COMMIT")
        await connection.close()

    assert len(errors) == 1
    await shop.append(sales(1, 2))  # as the program does with the transaction that failed
    assert sorted(await deliver(shop, "alpha")) == [1, 2]


async def until_somebody_waits(connection):
    with anyio.fail_after(10):
        while not await connection.fetchval(  # noqa: ASYNC110 (of another process)
            "SELECT count(*) FROM pg_locks WHERE NOT granted"
        ):
            await anyio.sleep(0.002)


async def test_nothing_is_appended_where_nothing_could_be_rolled_back(shop, connect, postgres_dsn):
    connection = await connect()
    with pytest.raises(InvalidArgumentError, match=r"no transaction.*connection\.transaction\(\)"):
        await shop.append_within(connection, [sale(1)])
    await connection.close()
    async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as alone:
        with pytest.raises(InvalidArgumentError, match="it is in autocommit mode"):
            await shop.append_within(alone, [sale(1)])
        async with alone.transaction():
            await shop.append_within(alone, [sale(2)])
    url = postgres_dsn.replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with AsyncSession(engine) as session:
        with pytest.raises(InvalidArgumentError, match="AUTOCOMMIT; use another engine"):
            await shop.append_within(session, [sale(1)])
    await engine.dispose()

    assert await deliver(shop, "alpha") == [2]


async def test_a_full_outbox_is_told_before_the_transaction_is_touched(shop, connect):
    await shop.append(sales(*range(1, 100)))
    connection = await connect()
    async with connection.transaction():
        await shop.append_within(connection, [sale(201)])
    async with connection.transaction():
        with pytest.raises(QueueFullError, match="alpha"):
            await shop.append_within(connection, [sale(202)])
        assert await connection.fetchval("SELECT 1") == 1
        repeats = [sale(1), sale(2, revenue=7), sale(201), sale(201)]  # they need no room
        first, other, *same = await shop.append_within(connection, repeats)
        assert [first, *same] == [Appended.REPEAT] * 3
        assert isinstance(other, Contradiction)
    await connection.close()

    assert 201 in await deliver(shop, "alpha")


async def test_errors_of_the_database_show_no_customer_and_say_what_to_do(
    make_outbox, own_database
):
    outbox = make_outbox()
    await outbox.open(["alpha"])
    elsewhere = create_async_engine(own_database.replace("postgresql:", "postgresql+asyncpg:"))
    conversion = sale(1, customer=Customer(email="jane@example.com"))
    async with AsyncSession(elsewhere) as session:
        with pytest.raises(DBAPIError) as caught:
            await outbox.append_within(session, [conversion])
    await elsewhere.dispose()
    await outbox.aclose()

    assert "jane" not in str(caught.value)
    assert "sale:1" not in str(caught.value)
    assert "run `anytrack outbox migrate`" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", PROGRAMS)
async def test_a_transaction_that_has_failed_is_to_be_begun_again(
    shop, kind, postgres_dsn, postgres_schema
):
    statement = "SELECT * FROM no_such_table"
    async with PROGRAMS[kind](postgres_dsn, postgres_schema) as program:
        with pytest.raises(Exception, match="no_such_table"):
            await program.within.execute(text(statement) if "Async" in kind else statement)
        with pytest.raises(Exception, match="aborted") as caught:
            await shop.append_within(program.within, [sale(1)])
        await program.end(False)

    assert "roll it back" in caught.value.__notes__[0]


async def test_the_client_delivers_after_the_commit(shop, connect, postgres_dsn, make_outbox):
    await shop.aclose()
    from tests.client.service import Service

    service = Service()
    connection = await connect()
    async with service.client(outbox=make_outbox()) as client:
        assert isinstance(client, AnyTrackClient)
        transaction = connection.transaction()
        await transaction.start()
        event_id = await client.submit(sale(1, click_id="c"), within=connection)
        assert service.requests == []
        await transaction.commit()
        with anyio.fail_after(20):
            assert (await (await client.delivery(event_id))).delivered
    await connection.close()


@pytest.mark.parametrize("on_full", ["shed", "wait"])
async def test_a_full_destination_is_shed_in_the_transaction_too(
    shop, connect, make_outbox, on_full
):
    keeper, meta = BlockingAnswer(), FakeSink("meta")
    outbox, stuck = make_outbox(capacity=2), FakeSink("stuck", keeper)
    world = World(stuck, meta, outbox=outbox, settings=DeliverySettings(on_full=on_full))
    connection = await connect()
    async with world.open():
        await world.submit(*sales(1, 2), to=["stuck"])
        async with connection.transaction():
            submit = world.dispatcher.submit_within(connection, sales(3, 4), None)
            if on_full == "wait":  # the transaction does not wait for room: it has locks
                with pytest.raises(QueueFullError, match="'stuck'"):
                    await submit
            else:
                assert await submit == ["sale:3", "sale:4"]
        if on_full == "shed":
            await world.until(lambda: len(meta.delivered) == 2)
            (dropped,) = world.events_of(Dropped)
            assert (dropped.destination, dropped.event_ids) == ("stuck", ["sale:3", "sale:4"])
            assert (await (await world.dispatcher.delivery("sale:3"))).delivered  # at Meta only
        keeper.open()
        await world.until(lambda: len(stuck.delivered) == 2)
    await connection.close()

    assert stuck.delivered == ["sale:1", "sale:2"]
    ended = world.events_of(BackPressureEnded)
    assert [event.dropped for event in ended] == ([2] if on_full == "shed" else [])


async def test_the_client_without_an_event_loop_delivers_after_the_commit(
    shop, postgres_dsn, make_outbox
):
    from tests.client.service import Service

    def sell() -> bool:
        client = Service().client(outbox=make_outbox())
        with AnyTrack(client=client) as anytrack, psycopg.connect(postgres_dsn) as connection:
            event_id = anytrack.submit(sale(1, click_id="c"), within=connection)
            with pytest.raises(TimeoutError):
                anytrack.delivery(event_id).result(timeout=0.05)
            connection.commit()
            return anytrack.delivery(event_id).result(timeout=20).delivered

    assert await anyio.to_thread.run_sync(sell)


async def test_more_than_one_step_may_hold_is_refused_whole(outbox, connect, monkeypatch):
    monkeypatch.setattr(checks, "MAX_APPEND_BYTES", 2**20)
    batch = [sale(number, custom_data={"pad": "x" * 10_000}) for number in range(150)]
    small = [outbox.append(sales(number)) for number in range(900, 910)]

    connection = await connect()
    async with connection.transaction():
        for refused in (outbox.append(batch), outbox.append_within(connection, batch)):
            with pytest.raises(
                UnsendableError, match=r"the first 1\d\d of 150 .*1 MiB.*track_many"
            ):
                await refused
    await connection.close()
    with pytest.raises(UnsendableError, match="none was accepted"):
        outbox.append_statement(batch)

    assert await outbox.reports([sale.event_id for sale in batch]) == {}
    # Only the call that is too large is refused, not those that are written together with it.
    calls = (outbox.append(batch[:90]), outbox.append(batch), *small)
    results = await gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [list, UnsendableError, *[list] * 10]
    assert results[0] == [Appended.NEW] * 90
