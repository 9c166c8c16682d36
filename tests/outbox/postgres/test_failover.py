"""A primary and its standby: what a replica can do, and that a failover loses nothing."""

from contextlib import suppress
from functools import partial

import anyio
import psycopg
import pytest
import pytest_asyncio

from anytrack_async import AnyTrackClient, DeliverySettings, PostgresOutbox, Retry
from anytrack_async.errors import AnyTrackError, OutboxError
from anytrack_async.testing.outbox_rules.base import LEASE, deliver, sale, sales
from anytrack_async.testing.recording import RecordingSink
from tests.servers.fixtures import running
from tests.servers.postgres import REPLICATED, PostgresServer, find_programs
from tests.servers.process import wait_for

pytestmark = pytest.mark.asyncio

SETTINGS = DeliverySettings(
    lease=2.0, poll=0.05, retry=Retry(base=0.01, cap=0.1), probe=Retry(base=0.01, cap=0.1), drain=10
)


@pytest.fixture
def servers():
    """A primary and a standby; a commit waits until the standby has it."""
    programs = find_programs()
    with (
        running(lambda: PostgresServer(programs, **REPLICATED)) as primary,
        running(lambda: PostgresServer(programs, primary=primary)) as standby,
    ):
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        wait_for(lambda: _is_synchronous(primary), lambda: "the standby does not follow")
        yield primary, standby


def _is_synchronous(primary):
    with psycopg.connect(primary.dsn) as connection:
        states = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    return states == [("sync",)]


def _has_caught_up(primary, standby):
    with psycopg.connect(primary.dsn) as connection:
        (end,) = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
    with psycopg.connect(standby.dsn) as connection:
        behind = connection.execute("SELECT %s - pg_last_wal_replay_lsn() > 0", [end])
        return not behind.fetchone()[0]


@pytest_asyncio.fixture
async def replica(servers):
    """An outbox on the standby, with one conversion that alpha has and one that waits."""
    primary, standby = servers
    first = PostgresOutbox(primary.dsn)
    await first.open(["alpha"])
    await first.append(sales(0))
    await deliver(first, "alpha")
    await first.append(sales(100))
    await first.depths()  # numbers them
    await first.aclose()
    wait_for(lambda: _has_caught_up(primary, standby), lambda: "the standby is behind")
    outbox = PostgresOutbox(standby.dsn)
    await outbox.open(["alpha"])
    yield outbox
    await outbox.aclose()


def multi_host_address(servers):
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"


async def nothing_waits(client):
    """Wait until a claim that the crash cut off has ended with its lease, and was sent again."""
    for _ in range(200):
        if not (await client.outbox.depths())["alpha"].waiting:
            return
        await anyio.sleep(0.05)


async def test_a_failover_loses_nothing_that_was_accepted(servers, replica):
    primary, standby = servers
    # A replica can be read, and says so when it cannot do something.
    assert (await replica.depths())["alpha"].waiting == 1
    assert len(await replica.accepted_counts(since=0)) == 1
    assert len(await replica.recent()) == 2
    for call in (
        lambda: replica.append(sales(1)),
        lambda: replica.claim("alpha", 1, LEASE),
        lambda: replica.prune(remember=0),
    ):
        with pytest.raises(OutboxError, match=r"read-only replica: connect to the primary"):
            await call()

    address, accepted, sinks = multi_host_address(servers), [], []
    enough = {count: anyio.Event() for count in (30, 60)}

    async def produce(client):
        for number in range(1, 61):
            while True:
                with suppress(AnyTrackError):  # the failover took longer than `submit` may
                    delivery = await client.submit(sale(number))
                    break
            accepted.append(delivery)
            if len(accepted) in enough:
                enough[len(accepted)].set()

    async def work(stop, *, produces):
        sinks.append(sink := RecordingSink("alpha"))
        async with AnyTrackClient(
            anytrack=False, sinks=[sink], outbox=PostgresOutbox(address), delivery=SETTINGS
        ) as client:
            if produces:
                await produce(client)
                assert all([(await delivery).delivered for delivery in accepted])
                await nothing_waits(client)
                stop.set()
            await stop.wait()

    async with anyio.create_task_group() as tasks:
        stop = anyio.Event()
        for produces in (True, False):
            tasks.start_soon(partial(work, stop, produces=produces))
        with anyio.fail_after(30):
            await enough[30].wait()
            await anyio.to_thread.run_sync(primary.crash)
            await anyio.to_thread.run_sync(standby.promote)
            await stop.wait()

    sent = {conversion.event_id for sink in sinks for conversion in sink.conversions}
    assert len(accepted) == 60
    assert sent == {"sale:100", *(delivery.event_id for delivery in accepted)}
    outbox = PostgresOutbox(address)
    await outbox.open([])
    assert (await outbox.depths())["alpha"].waiting == 0
    assert (await outbox.verify()).is_intact
    await outbox.aclose()
