"""Commands on an outbox in PostgreSQL, over the sandbox; its password is never shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import asyncpg
import httpx
import pytest

from anytrack_async import ConfigurationError, Conversion, Customer, PostgresOutbox, metrics_app
from anytrack_async.client.config import make_outbox
from anytrack_async.client.locations import OutboxLocation
from anytrack_async.codec.encryption import KeyRing
from tests.backfilling.tables import shopify_row, write_csv

NAMES = ("anytrack", "meta", "hubspot")
CUSTOMER = ("--email", "jane@example.com")


SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE $1 || '%'"


@pytest.fixture
def database(postgres_dsn, postgres_schema, monkeypatch) -> str:
    """Return an address with a password, which the server does not look at."""
    dsn = postgres_dsn.replace("postgres@", "postgres:hunter2@")
    monkeypatch.setenv("ANYTRACK_OUTBOX", dsn)
    monkeypatch.setenv("ANYTRACK_OUTBOX_SCHEMA", postgres_schema)
    return dsn


async def _append(dsn: str, schema: str, conversions: list[Conversion]) -> None:
    outbox = PostgresOutbox(dsn, schema=schema)
    await outbox.open(NAMES)
    await outbox.append(conversions)
    await outbox.aclose()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


def test_a_schema_is_made_printed_and_checked(run, database, postgres_schema):
    printed = run("outbox", "migrate", "--sql")
    missing = run("outbox", "verify")
    made = run("outbox", "migrate")
    anyio.run(_execute, database, f"DROP TABLE {postgres_schema}.encryption_key")
    again = run("outbox", "migrate", "--outbox", database)
    checked = run("outbox", "verify")

    assert [result.code for result in (printed, missing, made, again, checked)] == [0, 1, 0, 0, 0]
    assert f'CREATE SCHEMA IF NOT EXISTS "{postgres_schema}"' in printed.out
    assert "run `anytrack outbox migrate`" in missing.err.replace("\n", " ")
    assert "is up to date" in made.out
    assert "the outbox is intact" in checked.out
    for result in (printed, missing, made, again, checked):
        assert "hunter2" not in result.out + result.err


def test_no_command_that_reads_or_delivers_creates_a_schema(
    run, sandbox, database, postgres_schema, monkeypatch, tmp_path
):
    anyio.run(_append, database, postgres_schema, [])
    monkeypatch.setenv("ANYTRACK_OUTBOX_SCHEMA", f"{postgres_schema}_typo")
    write_csv(tmp_path / "orders.csv", [shopify_row(1001)])
    commands = (
        *(["stats"], ["outbox", "dead"], ["outbox", "prune"], ["outbox", "keys"]),
        *(["deliver"], ["deliver", "--until-empty"]),
    )
    for command in commands:
        refused = run(*command)
        message = refused.err.replace("\n", " ")
        assert refused.code == 1
        assert f"no outbox in the schema '{postgres_schema}_typo'" in message
        assert f"'{postgres_schema}'" in message
        assert "ANYTRACK_OUTBOX_SCHEMA" in message
    trial = run("backfill", str(tmp_path / "orders.csv"), "--dry-run")

    async def schemas() -> int:
        connection = await asyncpg.connect(database)
        try:
            return await connection.fetchval(SCHEMAS, postgres_schema)
        finally:
            await connection.close()

    assert trial.code == 0
    assert "accepted before are not marked" in trial.err.replace("\n", " ")
    assert anyio.run(schemas) == 1


def test_a_backlog_in_a_database_is_shown_and_delivered(
    run, sandbox, database, postgres_schema, tmp_path
):
    customer = Customer(email="jane@example.com")
    leads = [Conversion.lead(order_id=str(number), customer=customer) for number in range(5)]
    anyio.run(_append, database, postgres_schema, leads)
    shown = run("stats", "--json")
    delivered = run("deliver", "--outbox", database, "--until-empty")
    tracked = run("track", "lead", "--order-id", "9", *CUSTOMER)

    paid = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S +0000")
    file = write_csv(tmp_path / "orders.csv", [shopify_row(1, Paid_at=paid)])
    first, again = run("backfill", file), run("backfill", file)
    dead = run("outbox", "dead", "--json")
    pruned = run("outbox", "prune")

    assert json.loads(shown.out)["destinations"]["meta"]["waiting"] == 5
    assert "hunter2" not in json.loads(shown.out)["outbox"]
    for result in (delivered, tracked, first, again, dead, pruned):
        assert result.code == 0, result.out + result.err
        assert "hunter2" not in result.out + result.err
    assert "anytrack: 5 delivered, 0 waiting" in delivered.out
    assert sandbox.ledger()["meta"]["unique"] == 7


def test_the_option_takes_the_address_of_a_database(run, database, postgres_schema, monkeypatch):
    anyio.run(_append, database, postgres_schema, [Conversion.lead(click_id="c", order_id="1")])
    monkeypatch.delenv("ANYTRACK_OUTBOX")
    option = ("--outbox", database)
    results = [
        run(*command.split(), *option)
        for command in (
            "stats",
            "outbox dead",
            "outbox show lead:1",
            "outbox prune",
            "outbox remove-destination meta --yes",
        )
    ]
    after = json.loads(run("stats", "--json", *option).out)

    for result in results:
        assert result.code == 0, result.out + result.err
        assert "hunter2" not in result.out + result.err
    assert "removed 1 waiting conversions and 0 dead letters of meta" in results[-1].out
    assert "meta" not in after["destinations"]
    assert after["destinations"]["hubspot"]["waiting"] == 1


def test_metrics_are_read_from_a_database(database, postgres_schema):
    async def read() -> str:
        app = metrics_app(database)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            answer = (await http.get("/metrics")).text
        await app.aclose()
        return answer

    anyio.run(_append, database, postgres_schema, [Conversion.lead(click_id="c")])
    assert 'destination="meta"' in anyio.run(read)


def test_only_files_can_be_vacuumed(run, database):
    assert run("outbox", "vacuum").code == 2


def test_a_database_is_encrypted_and_rekeyed(run, database, postgres_schema, monkeypatch):
    async def append() -> None:
        outbox = make_outbox(database, KeyRing(old), {"ANYTRACK_OUTBOX_SCHEMA": postgres_schema})
        await outbox.open(NAMES)
        await outbox.append([Conversion.lead(order_id=str(number)) for number in range(3)])
        await outbox.aclose()

    old, new = (run("outbox", "new-key").out.strip() for _ in range(2))
    anyio.run(append)
    missing = run("stats").err.replace("\n", " ")
    monkeypatch.setenv("ANYTRACK_OUTBOX_KEYS", f"{new},{old}")
    counted = json.loads(run("outbox", "keys", "--json").out)["keys"]
    rekeyed = run("outbox", "rekey").out
    monkeypatch.setenv("ANYTRACK_OUTBOX_KEYS", new)

    assert f"the key {old[:8]}" in missing
    assert counted == {new[:8]: 0, old[:8]: 3, "": 0}
    assert rekeyed == f"3 rows encrypted with the key {new[:8]}\n"
    assert "the outbox is intact" in run("outbox", "verify").out


def test_only_databases_are_migrated(run, outbox_path):
    assert "only an outbox in a database" in run("outbox", "migrate").err.replace("\n", " ")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://jane:hunter2@db:5433/shop?sslmode=require", "postgresql://db:5433/shop"),
        ("postgres://db/shop?password=hunter2", "postgresql://db/shop"),
        ("postgresql://jane:hunter2@[db/shop", "postgresql://…"),
        (" PostgreSQL+psycopg://jane:hunter2@db/shop\n", "postgresql://db/shop"),
        ("outbox.db", "outbox.db"),
        ("sqlite:///outbox.db", "outbox.db"),
        ("sqlite:////var/outbox.db", "/var/outbox.db"),
        ("sqlite:outbox.db", "outbox.db"),
    ],
)
def test_a_location_is_shown_without_secrets(address, shown):
    location = OutboxLocation(address)

    assert str(location) == shown
    assert "hunter2" not in repr(location)
    assert location.is_database is shown.startswith("postgresql")
    if not location.is_database:
        assert location.path == Path(shown)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mysql://jane:hunter2@db/shop", r"not at mysql://…"),
        ("host=db user=jane password=hunter2", r"must be written as postgresql://"),
        ("postgresql:jane:hunter2@db/shop", r"must be written as postgresql://"),
    ],
)
def test_an_outbox_is_nowhere_else(address, reason):
    with pytest.raises(ConfigurationError, match=reason) as caught:
        make_outbox(address)
    assert "hunter2" not in str(caught.value)


def test_a_file_is_copied_into_a_database(run, database, outbox_path, tmp_path):
    async def fill() -> None:
        outbox = make_outbox(outbox_path)
        await outbox.open(NAMES)
        await outbox.append([Conversion.lead(click_id="c", order_id="1")])
        await outbox.aclose()

    anyio.run(fill)
    first = run("outbox", "copy", f"sqlite:{outbox_path}", database)
    again = run("outbox", "copy", f"sqlite:{outbox_path}", database, "--json")
    missing = run("outbox", "copy", f"sqlite:{tmp_path / 'x.db'}", database)
    folder = run("outbox", "copy", str(tmp_path), database)

    assert first.out.startswith("1 waiting, 0 dead letters, 0 ids of others, 0 known")
    assert "hunter2" not in first.out
    assert json.loads(again.out)["known"] == 1
    assert (missing.code, run("outbox", "copy", outbox_path, outbox_path).code) == (2, 2)
    assert folder.code == 2
    assert "is a folder: add the name of the outbox file" in folder.err.replace("\n", " ")
