"""The outbox file: its permissions, its size, and errors about it."""

import os
import sqlite3
import stat
from contextlib import closing

import pytest

from anytrack_async.errors import OutboxError, SchemaVersionError
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.tables import FORMAT_VERSION
from anytrack_async.testing.outbox_contract import LEASE, sale, sales

pytestmark = pytest.mark.asyncio


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


async def open_error(path, kind=OutboxError):
    outbox = SQLiteOutbox(path, busy_timeout=0.1)
    with pytest.raises(kind) as error:
        await outbox.open(["alpha"])
    await outbox.aclose()
    return str(error.value)


async def test_only_the_owner_can_read_it(outbox, path):
    await outbox.append(sales(1))

    assert mode(path) == 0o600
    assert mode(path.with_name("outbox.db-wal")) == 0o600


async def test_it_is_private_before_sqlite_opens_it(path, monkeypatch):
    modes = []
    connect = sqlite3.connect

    def spy(*args, **more):
        modes.append(mode(path))
        return connect(*args, **more)

    monkeypatch.setattr(sqlite3, "connect", spy)
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    await outbox.aclose()

    assert modes == [0o600]


async def test_the_path_can_be_text_and_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outbox = SQLiteOutbox("o.db")
    await outbox.open(["alpha"])
    await outbox.append(sales(1))
    await outbox.aclose()

    assert (tmp_path / "o.db").stat().st_size
    assert str(outbox.path) == "o.db"


async def test_it_is_durable_and_shared(outbox):
    assert (outbox.durable, outbox.shared, outbox.capacity) == (True, True, 5_000_000)


async def test_the_error_names_a_missing_folder(tmp_path):
    text = await open_error(tmp_path / "nowhere" / "o.db")

    assert "folder" in text
    assert "nowhere" in text


async def test_a_file_that_cannot_be_created_is_an_error(path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.open", refuse)

    assert (await open_error(path)).endswith("Permission denied")


async def test_a_folder_is_not_a_file(tmp_path):
    assert "is a folder: add the name of a file" in await open_error(tmp_path)


async def test_a_file_that_is_not_a_database_is_not_changed(path):
    path.write_bytes(b"Dear diary, " * 100)

    assert "not a database" in await open_error(path)
    assert path.read_bytes().startswith(b"Dear diary")


async def test_a_database_of_another_program_is_not_changed(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE diary (entry TEXT)")
    before = path.read_bytes()

    assert "choose another path" in await open_error(path)
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("diary",)]


async def test_a_file_of_a_later_release_is_refused(outbox, path):
    await outbox.aclose()
    with closing(sqlite3.connect(path)) as later:
        later.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")

    assert "upgrade" in await open_error(path, SchemaVersionError)


async def test_an_empty_file_becomes_an_outbox(path):
    path.touch()
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    await outbox.append(sales(1))
    await outbox.aclose()


async def test_the_error_of_a_damaged_file_says_what_to_do(outbox, path):
    await outbox.append([sale(n, custom_data={"pad": "x" * 500}) for n in range(200)])
    await outbox.aclose()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))

    text = await open_error(path)

    assert "damaged" in text
    assert str(path) in text


async def test_a_file_with_a_missing_row_is_damaged(outbox):
    await outbox.append(sales(1))
    claim = await outbox.claim("alpha", 1, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=1, attempts=1, error="", due=0.0)])
    await outbox.release(await outbox.claim("beta", 1, LEASE), due=0.0, counts_as_attempt=False)
    await outbox._run(lambda db: db.sql.execute("DELETE FROM log"))

    for name in ("alpha", "beta"):
        with pytest.raises(OutboxError, match="damaged"):
            await outbox.claim(name, 1, LEASE)


async def test_a_destination_name_must_be_a_single_line(outbox):
    await outbox.aclose()
    with pytest.raises(OutboxError, match="single line"):
        await outbox.open(["al\npha"])


async def test_a_file_that_stays_locked_is_an_error(outbox, path):
    await outbox.aclose()
    await outbox.open(["alpha"])
    quick = SQLiteOutbox(path, busy_timeout=0.05)
    await quick.open(["alpha"])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutboxError, match="locked by another program"):
            await quick.append(sales(1))
        other.execute("ROLLBACK")

    assert await quick.reports(["sale:1"]) == {}
    await quick.append(sales(1))
    assert (await outbox.claim("alpha", 1, LEASE)).entries
    await quick.aclose()


async def test_open_waits_while_another_process_creates_the_file(path, monkeypatch):
    connect = sqlite3.connect
    busy = [True, True]

    class Busy(sqlite3.Connection):
        def execute(self, statement, *args):
            if "journal_mode" in statement and busy:
                busy.pop()
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            return super().execute(statement, *args)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **more: connect(*a, factory=Busy, **more))
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])

    assert not busy
    await outbox.aclose()
    busy += [True] * 1000
    assert "another process" in await open_error(path)


async def test_two_outboxes_of_one_process_share_a_file(outbox, path, clock):
    other = SQLiteOutbox(path, clock=clock)
    await other.open(["alpha"])
    await other.append(sales(1, 2))
    claim = await outbox.claim("alpha", 1, LEASE)
    assert len((await other.claim("alpha", 9, LEASE)).entries) == 1
    await other.aclose()

    assert await outbox.settle(claim)
    await outbox.append(sales(3))
    with closing(sqlite3.connect(path)) as third:
        assert third.execute("SELECT count(*) FROM log").fetchone() == (3,)
