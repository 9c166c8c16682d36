"""Creating the schema, and refusing what cannot work with a sentence."""

import asyncio
import hashlib
import logging
import socket
import sys

import pytest
import trio

from anytrack_async.errors import (
    ConfigurationError,
    OutboxError,
    OutcomeUnknownError,
    SchemaVersionError,
    WrongEventLoopError,
)
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.postgres.errors import is_lost
from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.outbox.postgres.schema import SCHEMA_VERSION, migrate_sql
from anytrack_async.outbox.sqlite.verify import Account
from anytrack_async.testing.outbox_rules.base import deliver, sales

SECRET = "hunter2"


@pytest.mark.asyncio
async def test_several_processes_create_the_schema_at_once(make_outbox):
    outboxes = [make_outbox() for _ in range(5)]

    await asyncio.gather(*(outbox.open(["alpha", "beta"]) for outbox in outboxes))

    await outboxes[0].append(sales(1))
    assert await deliver(outboxes[1], "alpha") == [1]
    for outbox in outboxes:
        await outbox.aclose()


@pytest.mark.asyncio
async def test_the_printed_sql_creates_the_schema_and_can_be_repeated(
    make_outbox, postgres_schema, connect
):
    connection = await connect()
    for _ in range(2):
        await connection.execute(migrate_sql(postgres_schema))
    outbox = make_outbox(migrate=False)
    await outbox.open(["alpha"])
    await outbox.append(sales(1))
    await connection.execute(migrate_sql(postgres_schema))

    assert await deliver(outbox, "alpha") == [1]
    await outbox.aclose()


def test_a_change_of_the_sql_has_a_version_of_its_own():
    """Open outboxes compare only the version: with the old one, the change would reach none."""
    lines = (line.partition("-- ")[0].strip() for line in migrate_sql().splitlines())
    statements = "\n".join(line for line in lines if line and line != "--")
    digest = hashlib.sha256(statements.encode()).hexdigest()[:16]

    pinned = (3, "4e990539d6e1ca9a")
    assert (SCHEMA_VERSION, digest) == pinned, "raise SCHEMA_VERSION, and write both here"


@pytest.mark.asyncio
async def test_a_schema_that_is_missing_or_of_a_later_release_is_refused(
    make_outbox, postgres_schema, connect
):
    with pytest.raises(OutboxError, match="anytrack outbox migrate"):
        await make_outbox(migrate=False).open(["alpha"])
    outbox = make_outbox()
    await outbox.open(["alpha"])
    await outbox.aclose()
    connection = await connect()
    await connection.execute(f"UPDATE {postgres_schema}.format SET version = 99")
    await outbox.open(["alpha"])  # the later release works beside this one
    await outbox.aclose()
    await connection.execute(f"UPDATE {postgres_schema}.format SET oldest = 98")

    for migrate in (True, False):
        with pytest.raises(SchemaVersionError, match=r"version 99.*upgrade"):
            await make_outbox(migrate=migrate).open(["alpha"])


@pytest.mark.asyncio
async def test_a_role_without_rights_is_told_what_to_do(
    make_outbox, postgres_dsn, postgres_schema, connect
):
    role = f"role_{postgres_schema}"
    owner = await connect()
    await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
    dsn = postgres_dsn.replace("postgres@", f"{role}:{SECRET}@")
    try:
        with pytest.raises(OutboxError, match="may not create the schema"):
            await PostgresOutbox(dsn, schema=postgres_schema).open(["alpha"])
        await owner.execute(migrate_sql(postgres_schema))
        with pytest.raises(OutboxError, match="lacks a right"):
            await PostgresOutbox(dsn, schema=postgres_schema).open(["alpha"])
        await owner.execute(
            f"GRANT USAGE ON SCHEMA {postgres_schema} TO {role};"
            f"GRANT ALL ON ALL TABLES IN SCHEMA {postgres_schema} TO {role};"
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {postgres_schema} TO {role}"
        )
        outbox = PostgresOutbox(dsn, schema=postgres_schema)
        await outbox.open(["alpha"])
        await outbox.append(sales(1))
        assert await deliver(outbox, "alpha") == [1]
        assert await outbox.prune(remember=0) == 1
        await outbox.aclose()
    finally:
        await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.asyncio
async def test_a_read_only_server_is_named(make_outbox, postgres_dsn):
    outbox = make_outbox()
    await outbox.open(["alpha"])
    await outbox.aclose()
    options = "?options=-c%20default_transaction_read_only%3Don"
    replica = PostgresOutbox(postgres_dsn + options, schema=outbox.schema)
    await replica.open(["alpha"])

    with pytest.raises(OutboxError, match="read-only replica"):
        await replica.append(sales(1))
    await replica.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:1/db",
        f"postgresql://user:{SECRET}@host:port/db",
    ],
)
async def test_the_address_is_in_no_message(dsn, caplog):
    caplog.set_level(logging.DEBUG)
    outbox = PostgresOutbox(dsn, timeout=2)

    with pytest.raises(OutboxError) as caught:
        await outbox.open(["alpha"])

    error = caught.value
    assert "at postgresql://" in str(error)
    assert SECRET not in f"{error} {error!r} {error.__cause__!r} {outbox!r} {caplog.text}"
    assert error.__suppress_context__


@pytest.mark.asyncio
async def test_every_call_ends_although_nothing_comes_back(make_outbox):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        outbox = PostgresOutbox(f"postgresql://postgres@127.0.0.1:{port}/db", timeout=0.2)

        with pytest.raises(OutboxError, match="did not answer in time"):
            await outbox.open(["alpha"])


@pytest.mark.asyncio
async def test_an_append_without_an_answer_has_an_unknown_outcome(outbox, make_outbox, connect):
    outbox = make_outbox(timeout=1.0)  # the schema is there, as creating it may take longer
    await outbox.open(["alpha"])
    writer = await connect()
    await writer.execute(f"BEGIN; LOCK TABLE {outbox.schema}.ids IN EXCLUSIVE MODE")

    with pytest.raises(OutcomeUnknownError, match="do it again, which is safe"):
        await outbox.append(sales(1))

    await writer.execute("ROLLBACK")
    assert len(await outbox.append(sales(1))) == 1
    assert await deliver(outbox, "alpha") == [1]
    await outbox.aclose()


@pytest.mark.parametrize("schema", ["", "Anytrack", "a.b", "a" * 64, 'a"b', "1a", None])
def test_a_name_that_no_schema_may_have_is_refused(schema):
    with pytest.raises(ConfigurationError, match="schema must be"):
        PostgresOutbox("postgresql://localhost/db", schema=schema)


def test_what_is_no_address_is_refused():
    with pytest.raises(ConfigurationError, match="type int"):
        PostgresOutbox(5432)
    no_address = f"host=localhost password={SECRET}"
    for arguments in (
        {"dsn": f"mysql://user:{SECRET}@localhost/db"},
        {"dsn": no_address},
        {"dsn": "postgres://db", "listen_dsn": no_address},
    ):
        with pytest.raises(ConfigurationError, match="dsn must begin with postgresql:") as caught:
            PostgresOutbox(**arguments)
        assert SECRET not in str(caught.value)


@pytest.mark.asyncio
async def test_a_schema_of_something_else_is_left_alone(make_outbox, connect, postgres_schema):
    connection = await connect()
    await connection.execute(
        f"CREATE SCHEMA {postgres_schema}; CREATE TABLE {postgres_schema}.page (number int)"
    )
    with pytest.raises(OutboxError, match=r"tables of something else.*name another schema"):
        await make_outbox().open(["alpha"])
    names = f"SELECT relname FROM pg_class WHERE relnamespace = '{postgres_schema}'::regnamespace"
    assert [row[0] for row in await connection.fetch(names)] == ["page"]


@pytest.mark.asyncio
async def test_a_server_without_tls_is_named(postgres_dsn):
    with pytest.raises(OutboxError, match="refuses TLS"):
        await PostgresOutbox(f"{postgres_dsn}?sslmode=require").open(["alpha"])


@pytest.mark.asyncio
async def test_an_option_that_the_driver_does_not_have_is_named(postgres_dsn):
    with pytest.raises(OutboxError, match=r'"channel_binding".*remove that option'):
        await PostgresOutbox(f"{postgres_dsn}?channel_binding=require").open(["alpha"])


@pytest.mark.asyncio
async def test_an_address_as_sqlalchemy_has_it_is_understood(postgres_dsn, postgres_schema):
    address = postgres_dsn.replace("postgresql:", "postgresql+asyncpg:")
    outbox = PostgresOutbox(f" {address}\n", schema=postgres_schema)
    await outbox.open(["alpha"])
    await outbox.aclose()


@pytest.mark.parametrize("code", ["57P01", "57P02", "57P03", "57P05", "08006"])
def test_a_connection_that_the_server_ended_is_made_anew(code):
    class EndedError(Exception):
        sqlstate = code

    assert is_lost(EndedError())


def test_the_extra_is_named_where_the_driver_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(ConfigurationError, match=r"anytrack_async\[postgres\]"):
        PostgresOutbox("postgresql://localhost/db")


def test_trio_is_refused_with_a_sentence():
    outbox = PostgresOutbox("postgresql://localhost/db")

    async def run():
        with pytest.raises(WrongEventLoopError, match="asyncio only"):
            await outbox.open(["alpha"])

    trio.run(run)


@pytest.mark.asyncio
async def test_verifying_accounts_for_every_conversion_and_names_what_is_missing(outbox, connect):
    await outbox.append(sales(*range(10)))
    claim = await outbox.claim("alpha", 4, 60)
    first, second, third, _ = claim.entries
    failed = [
        FailedEntry(seq=first.seq, attempts=1, error="no"),
        FailedEntry(seq=second.seq, attempts=1, error="no"),
        FailedEntry(seq=third.seq, attempts=1, error="later", due=0),
    ]
    await outbox.settle(claim, failed)
    await outbox.discard("alpha", [first.conversion.event_id])

    verification = await outbox.verify()

    assert verification.is_intact
    alpha = Account(accepted=10, delivered=1, waiting=7, dead=1, discarded=1)
    assert verification.accounts["alpha"] == alpha
    connection = await connect()
    await connection.execute(
        f"SET search_path = {outbox.schema}; DELETE FROM log; UPDATE destination SET dead = 7;"
        "UPDATE span SET lease = 5; DELETE FROM page"
    )
    problems = " ".join((await outbox.verify()).problems)
    for part in ("2 retries and dead letters have no conversion", "'alpha': counted 1 retries"):
        assert part in problems


@pytest.mark.asyncio
async def test_a_schema_of_the_first_release_gets_a_history_and_its_programs_go_on(
    outbox, make_outbox, connect
):
    await outbox.append(sales(1, 2, 3))
    connection = await connect()
    await connection.execute(
        f"SET search_path = {outbox.schema}; UPDATE format SET version = 1;"
        "DROP TABLE history_accepted, history_outcomes, history_batches, history_attempts,"
        "new_accepted, new_outcomes; DROP FUNCTION settle_v2, settle_failed_v2, release_v2, "
        "prune_v2, append_v2, count_v1"
    )
    later = make_outbox()
    await later.open(["alpha", "beta"])
    claims = [await later.claim("alpha", limit, 60) for limit in (1, 5)]
    settled = "SELECT settle_v1('alpha', $1)"
    failed = """SELECT settle_failed_v1('alpha', $1, ARRAY[3::bigint], ARRAY[1],
        ARRAY[NULL::float8], ARRAY['no'], ARRAY[NULL], '{}', '{}', '{}', 0, NULL)"""
    assert await connection.fetchval(settled, claims[0].lease_id)
    assert await connection.fetchval(failed, claims[1].lease_id)
    await deliver(later, "beta")
    await connection.fetchrow("SELECT * FROM prune_v1(100, 0, NULL)")

    assert len(await later.delivered_at("sale:3")) == 1
    assert [item.error for item in await later.attempts("sale:3")] == ["no"]
    assert (await later.verify()).is_intact
    await later.aclose()


@pytest.mark.asyncio
async def test_migrating_again_waits_for_no_open_transaction_and_delays_no_worker(
    outbox, make_outbox, connect
):
    user, operator = await connect(), await connect()
    transaction = user.transaction()
    await transaction.start()
    await outbox.append_within(user, sales(1))
    await outbox.append(sales(2))
    claim = await outbox.claim("alpha", 5, 60)

    for script in (migrate_sql(outbox.schema), "UPDATE format SET version = 1"):
        await operator.execute(f"SET lock_timeout = '2s'; SET search_path = {outbox.schema}")
        await operator.execute(script)
    later = make_outbox()
    async with asyncio.timeout(5):
        await later.open(["alpha", "beta"])
    await outbox.append(sales(3))
    assert await outbox.settle(claim)
    await transaction.commit()

    assert sorted(await deliver(later, "alpha")) == [1, 3]
    await later.aclose()
