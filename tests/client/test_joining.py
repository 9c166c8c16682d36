"""`within`: what the client does with a transaction of the caller's; the database is a fake."""

from __future__ import annotations

import pytest

from anytrack_async import (
    AnyTrack,
    ClosedError,
    ConfigurationError,
    ConflictError,
    Conversion,
    DeliverySettings,
    InvalidArgumentError,
    InvalidDestinationError,
    MemoryOutbox,
)
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.transactions import execute_within, execute_within_sync
from tests.client.service import Service


class Joinable(MemoryOutbox):
    """Appends when the fake transaction is committed."""

    async def append_within(self, transaction, conversions, destinations=None):
        await execute_within(transaction, lambda style: (style, ()))
        transaction.pending.append((conversions, destinations))
        return transaction.results or [Appended.NEW] * len(conversions)

    def append_statement(self, conversions, destinations=None, *, style="format"):
        return f"append {len(conversions)} to {destinations}", ()

    def append_results(self, conversions, row):
        return row


class Connection:
    """A connection as asyncpg has it, as far as it matters."""

    def __init__(self, *, is_open=True):
        self.is_open, self.pending, self.results, self.statements = is_open, [], None, []

    def is_in_transaction(self):
        return self.is_open

    async def fetchrow(self, sql, *parameters):
        self.statements.append(sql)

    async def execute(self):
        raise AssertionError("only rows are fetched")


Connection.__module__ = "asyncpg.connection"


def lead(number: int) -> Conversion:
    return Conversion.lead(click_id="c", event_id=f"lead:{number}")


@pytest.mark.asyncio
async def test_joining_returns_event_ids_and_the_delivery_is_there_after_the_commit(
    service: Service,
):
    outbox, connection = Joinable(), Connection()
    async with service.client(outbox=outbox) as client:
        assert await client.submit(lead(1), within=connection) == "lead:1"
        ids = await client.submit_many([lead(2), lead(3)], within=connection, to=["anytrack"])
        assert ids == ["lead:2", "lead:3"]
        assert (await client.stats()).submitted == 0
        delivery = await client.delivery("lead:3")
        assert not delivery.done()

        for conversions, destinations in connection.pending:
            await outbox.append(conversions, destinations)
        client._dispatcher.wake()
        assert (await delivery).delivered
        assert (await (await client.delivery("lead:1"))).delivered

    assert connection.statements == ["numeric_dollar"] * 2


@pytest.mark.asyncio
async def test_what_new_conversions_lost_is_counted(service: Service):
    connection = Connection()
    connection.results = [Appended.NEW, Appended.REPEAT]
    leads = [Conversion.lead(ip_address="10.0.0.1", event_id=f"lead:{n}") for n in range(2)]
    async with service.client(outbox=Joinable()) as client:
        await client.submit_many(leads, within=connection)
        assert (await client.stats()).weakened == {"private IP addresses": 1}
    with AnyTrack(client=service.client(outbox=Joinable())) as anytrack:
        anytrack.submit(leads[0], within=BaseDatabaseWrapper())
        assert anytrack.stats().weakened == {"private IP addresses": 1}


@pytest.mark.asyncio
async def test_an_outbox_in_no_database_refuses(service: Service):
    async with service.client() as client:
        with pytest.raises(ConfigurationError, match=r"MemoryOutbox cannot take part.*postgresql"):
            await client.submit(lead(1), within=Connection())


@pytest.mark.asyncio
async def test_nothing_is_submitted_where_nothing_could_be_rolled_back(service: Service):
    connection = Connection(is_open=False)
    async with service.client(outbox=Joinable()) as client:
        with pytest.raises(InvalidArgumentError, match=r"no transaction.*\.transaction\(\)"):
            await client.submit(lead(1), within=connection)
        with pytest.raises(InvalidArgumentError, match=r"^within must be.*append_statement"):
            await client.submit(lead(1), within=object())
        with pytest.raises(InvalidDestinationError):
            await client.submit(lead(1), within=connection, to=["nowhere"])
    with pytest.raises(ClosedError):
        await client.submit(lead(1), within=connection)

    assert not connection.statements


@pytest.mark.asyncio
async def test_a_conflict_raises_only_if_the_settings_say_so(service: Service):
    outbox, connection = Joinable(), Connection()
    await outbox.open(["anytrack"])
    await outbox.append([Conversion.lead(event_id="lead:1", revenue=5)])
    connection.results = await outbox.append([lead(1)])
    await outbox.aclose()

    async with service.client(outbox=Joinable()) as client:
        assert await client.submit(lead(1), within=connection) == "lead:1"
        assert (await client.stats()).contradicted == 1
    strict = DeliverySettings(on_conflict="raise")
    async with service.client(outbox=Joinable(), delivery=strict) as client:
        with pytest.raises(ConflictError, match="lead:1"):
            await client.submit(lead(1), within=connection)


class Cursor:
    def __init__(self, connection):
        self.connection = connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def execute(self, sql, parameters):
        self.connection.statements.append(sql)

    def fetchone(self):
        return [Appended.NEW]


class BaseDatabaseWrapper:
    """A connection as Django has it, as far as it matters."""

    vendor = "postgresql"

    def __init__(self):
        self.in_atomic_block, self.statements = True, []

    def get_autocommit(self):
        return True

    def cursor(self):
        return Cursor(self)


BaseDatabaseWrapper.__module__ = "django.db.backends.base.base"


def test_the_client_without_an_event_loop_joins_in_the_callers_thread(service: Service):
    connection = BaseDatabaseWrapper()
    with AnyTrack(client=service.client(outbox=Joinable())) as anytrack:
        assert anytrack.submit(lead(1), within=connection) == "lead:1"
        assert anytrack.submit_many([lead(2)], within=connection, to=["anytrack"]) == ["lead:2"]
        assert anytrack.delivery("lead:1").event_id == "lead:1"
        connection.in_atomic_block = False
        with pytest.raises(InvalidArgumentError, match=r"transaction\.atomic\(\)"):
            anytrack.submit(lead(1), within=connection)
        connection.vendor = "mysql"
        with pytest.raises(InvalidArgumentError, match="connection to mysql, but the outbox is in"):
            anytrack.submit(lead(1), within=connection)

    assert connection.statements == ["append 1 to None", "append 1 to ('anytrack',)"]


@pytest.mark.asyncio
async def test_each_client_says_which_kind_of_connection_it_takes():
    with pytest.raises(InvalidArgumentError, match="use AnyTrack instead of AnyTrackClient"):
        await execute_within(BaseDatabaseWrapper(), lambda style: ("", ()))
    with pytest.raises(InvalidArgumentError, match=r"must be.*got asyncpg\.Connection"):
        execute_within_sync(Connection(), lambda style: ("", ()))
