"""Files of earlier formats: opened in place, nothing lost, never taken for a contradiction."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite import upgrade
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.owners import Owner
from anytrack_async.outbox.sqlite.tables import FORMAT_VERSION
from anytrack_async.testing.outbox_contract import LEASE

pytestmark = pytest.mark.asyncio

DUMPS = Path(__file__).parents[2] / "data" / "outbox"
HOUR = 3600.0

PRUNED = Conversion.sale(event_id="pruned", revenue="49.90")
WAITING = Conversion.sale(event_id="waiting", revenue="19.90", currency="EUR")
DEAD = Conversion.lead(event_id="dead", revenue=5)


def create(path, version):
    with closing(sqlite3.connect(path)) as old:
        old.executescript((DUMPS / f"format_{version}.sql").read_text())
    return path


@pytest.fixture
def old_file(path):
    return create(path, 1)


async def opened(path, clock):
    outbox = SQLiteOutbox(path, clock=clock)
    await outbox.open(["alpha", "beta"])
    return outbox


def rows(path, statement):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(statement).fetchall()


async def amounts(outbox, conversion):
    """Append *conversion* with another amount; return both amounts if that is a contradiction."""
    (result,) = await outbox.append([attrs.evolve(conversion, revenue=99)])
    if isinstance(result, Contradiction):
        return str(result.first), str(result.repeat)
    return result


async def test_nothing_in_the_file_is_lost(old_file, clock):
    outbox = await opened(old_file, clock)
    reports = await outbox.reports(["pruned", "dead", "waiting"])
    (letter,) = await outbox.dead_letters()
    claim = await outbox.claim("beta", 9, LEASE)

    assert [report.delivered for report in reports.values()] == [True, False, False]
    assert (letter.conversion.event_id, letter.error) == ("dead", "no thanks")
    (entry,) = claim.entries
    assert (entry.conversion.event_id, entry.conversion.ip_address) == ("waiting", "8.8.8.8")
    await outbox.aclose()


async def test_the_file_has_the_new_format_afterwards(old_file, clock):
    for _ in range(2):
        await (await opened(old_file, clock)).aclose()

    assert rows(old_file, "PRAGMA user_version") == [(FORMAT_VERSION,)]
    assert rows(old_file, "SELECT count(*) FROM log") == [(2,)]
    assert rows(old_file, "SELECT count(*) FROM ids") == [(3,)]


async def test_a_conversion_with_a_payload_is_compared(old_file, clock):
    outbox = await opened(old_file, clock)

    assert await outbox.append([WAITING, DEAD]) == [Appended.REPEAT] * 2
    assert await amounts(outbox, WAITING) == ("sale 19.90 EUR", "sale 99 EUR")
    assert await amounts(outbox, DEAD) == ("lead 5 USD", "lead 99 USD")
    await outbox.aclose()


async def test_an_id_without_a_payload_is_always_a_repeat(old_file, clock):
    outbox = await opened(old_file, clock)

    assert await outbox.append([PRUNED]) == [Appended.REPEAT]
    assert await amounts(outbox, PRUNED) is Appended.REPEAT
    await outbox.aclose()


async def test_a_damaged_payload_is_a_repeat(old_file, clock):
    with closing(sqlite3.connect(old_file)) as file, file:
        file.execute("UPDATE log SET payload = x'7B' WHERE event_id = 'waiting'")
    outbox = await opened(old_file, clock)

    assert await amounts(outbox, WAITING) is Appended.REPEAT
    await outbox.aclose()


async def test_amounts_are_remembered_when_the_payload_is_dropped(old_file, clock):
    outbox = await opened(old_file, clock)
    await outbox.replay("alpha")
    for name in ("alpha", "beta"):
        await outbox.settle(await outbox.claim(name, 9, LEASE))
    assert await outbox.prune(remember=1e12) == 2

    assert await amounts(outbox, WAITING) == ("sale 19.90 EUR", "sale 99 EUR")
    assert await amounts(outbox, DEAD) == ("lead 5 USD", "lead 99 USD")
    await outbox.aclose()


async def test_a_file_that_an_earlier_release_has_open_stays_as_it_is(path, clock):
    create(path, 2)
    earlier = Owner(path)
    with closing(sqlite3.connect(path)) as file, file:
        earlier.register(file, 0)
    with pytest.raises(OutboxError, match="stop it"):
        await opened(path, clock)
    assert rows(path, "PRAGMA user_version") == [(2,)]
    assert len(rows(path, "SELECT event_id FROM log")) == 6

    earlier.close()
    outbox = await opened(path, clock)
    assert await amounts(outbox, WAITING) == ("sale 19.90 EUR", "sale 99 EUR")
    await outbox.aclose()


async def test_processes_can_upgrade_a_file_at_the_same_time(old_file, clock):
    outboxes = await asyncio.gather(*(opened(old_file, clock) for _ in range(3)))

    for outbox in outboxes:
        assert await amounts(outbox, WAITING) == ("sale 19.90 EUR", "sale 99 EUR")
        await outbox.aclose()


async def test_nothing_but_the_summary_is_left_of_a_dropped_conversion(outbox, path):
    """The digest of a payload would allow to guess an e-mail address."""
    await outbox.append([PRUNED])
    for name in ("alpha", "beta"):
        await outbox.settle(await outbox.claim(name, 9, LEASE))
    await outbox.prune(remember=HOUR)

    assert rows(path, "SELECT event_id, summary FROM ids") == [("pruned", "sale 49.90 USD")]
    assert rows(path, "SELECT * FROM log") == []


async def test_leases_and_retries_continue(old_file, clock):
    with closing(sqlite3.connect(old_file)) as old:
        old.execute("INSERT INTO lease VALUES (3, 'alpha', 10.0)")
        old.execute("INSERT INTO span VALUES (1, 'alpha', 3, 3, 1, 1, 0, 3)")
        old.execute("UPDATE exception SET due = 5.0")
        old.execute("UPDATE destination SET cursor = 3, pending = 1, dead = 0")
        old.commit()
    outbox = await opened(old_file, clock)

    claim = await outbox.claim("alpha", 9, LEASE)

    assert claim.entries.event_ids == ["dead", "waiting"]
    assert list(claim.entries.attempts) == [1, 2]
    assert list(claim.lost_leases.values()) == [1]
    await outbox.aclose()


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_the_file_has_the_tables_of_a_new_one(path, version, tmp_path, clock):
    schemas = []
    for file in (create(path, version), tmp_path / "new.db"):
        await (await opened(file, clock)).aclose()
        tables = rows(file, "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL")
        columns = {
            name: {row[1:4] for row in rows(file, f"PRAGMA table_info({name})")}
            for kind, name in tables
            if kind == "table"
        }
        schemas.append((sorted(tables), columns))

    assert schemas[0] == schemas[1]


async def test_nothing_in_a_file_of_version_2_is_lost(path, clock):
    clock.now = 1_767_323_200.0  # the retry and the released conversion are due
    outbox = await opened(create(path, 2), clock)
    assert await outbox.checkpoint("import") is None

    retry, *others = (await outbox.claim("alpha", 9, LEASE)).entries
    claim = await outbox.claim("beta", 9, LEASE)
    (letter,) = await outbox.dead_letters()

    assert (retry.conversion.event_id, retry.attempts) == ("retried", 1)
    ids = [(entry.conversion.event_id, entry.attempts) for entry in others]
    assert ids == [("released", 1), ("waiting", 0)]
    assert claim.entries.event_ids == ["only-beta", "retried", "released", "waiting"]
    assert (letter.conversion.event_id, letter.error) == ("dead", "no thanks")
    assert await amounts(outbox, PRUNED) == ("sale 49.90 USD", "sale 99 USD")
    assert (await outbox.verify()).is_intact
    await outbox.aclose()


@pytest.mark.parametrize("version", [1, 2])
async def test_the_file_can_shrink_afterwards(path, version, clock, caplog):
    create(path, version)
    await (await opened(path, clock)).aclose()

    assert rows(path, "PRAGMA auto_vacuum") == [(2,)]
    assert "vacuum" not in caplog.text


async def test_a_large_file_is_written_anew_on_demand(old_file, clock, caplog, monkeypatch):
    monkeypatch.setattr(upgrade, "_QUICK_VACUUM", 1_000)
    outbox = await opened(old_file, clock)
    assert "anytrack outbox vacuum" in caplog.text
    assert rows(old_file, "PRAGMA auto_vacuum") == [(0,)]
    await outbox.append([Conversion.sale(revenue=n) for n in range(1, 2_000)])
    await outbox.forget("alpha")
    await outbox.settle(await outbox.claim("beta", 3_000, LEASE))
    await outbox.prune(remember=0)

    before, after = await outbox.vacuum()
    assert after < before / 3
    assert old_file.stat().st_size == after
    assert rows(old_file, "PRAGMA auto_vacuum") == [(2,)]
    assert (await outbox.verify()).is_intact
    await outbox.aclose()


async def test_a_locked_file_is_written_anew_the_next_time(old_file, clock, caplog, monkeypatch):
    def locked(_):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(upgrade, "vacuum", locked)
    await (await opened(old_file, clock)).aclose()
    assert "database is locked" in caplog.text
    monkeypatch.undo()
    await (await opened(old_file, clock)).aclose()

    assert rows(old_file, "PRAGMA auto_vacuum") == [(2,)]


async def test_a_file_that_another_process_is_creating_is_an_outbox(path, clock):
    """The tables appear between two statements of the program that looks what the file is."""
    with closing(sqlite3.connect(path)) as empty:
        empty.execute("PRAGMA journal_mode = WAL")

    def create_tables(statement):
        if "user_version" in statement:
            sql.set_trace_callback(None)
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                upgrade.create_or_upgrade(other, Owner(path))
                other.execute("COMMIT")

    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        sql.set_trace_callback(create_tables)
        assert upgrade.format_version(sql) == 0
        assert upgrade.format_version(sql) == FORMAT_VERSION


async def test_an_index_that_nothing_uses_any_more_is_removed(path, clock):
    create(path, 3)
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE INDEX log_addressed ON log(seq) WHERE destinations IS NOT NULL")
    outbox = await opened(path, clock)
    claim = await outbox.claim("beta", 9, LEASE)
    await outbox.aclose()

    assert rows(path, "SELECT name FROM sqlite_master WHERE name = 'log_addressed'") == []
    assert claim.entries.event_ids == ["for-beta", "retry", "released", "waiting"]
