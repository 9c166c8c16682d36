"""The write-ahead log of an outbox file stays small, and checkpoints damage nothing."""

import multiprocessing
import sqlite3
from contextlib import closing

import anyio
import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.sqlite import database, write_ahead_log
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales

pytestmark = pytest.mark.asyncio


async def opened(path):
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha", "beta"])
    return outbox


async def test_the_log_is_emptied_when_it_is_large(path, monkeypatch):
    monkeypatch.setattr(write_ahead_log, "_WAL_BYTES", 100_000)
    monkeypatch.setattr(write_ahead_log, "_MAX_WAL_BYTES", 200_000)
    monkeypatch.setattr(write_ahead_log, "_CHECKPOINT_SHARE", 0)
    outbox = await opened(path)
    sizes = []
    for number in range(50):
        await outbox.append([sale(number, custom_data={"pad": "x" * 10_000})])
        sizes.append(path.with_name("outbox.db-wal").stat().st_size)

    assert max(sizes) < 250_000
    assert min(sizes[1:]) == 0
    await outbox.aclose()


async def test_the_log_starts_over_in_the_file_as_it_is(path, monkeypatch):
    monkeypatch.setattr(write_ahead_log, "_WAL_BYTES", 100_000)
    monkeypatch.setattr(write_ahead_log, "_MAX_WAL_BYTES", 1_000_000)
    outbox = await opened(path)
    checkpoints = await traced_checkpoints(outbox)
    sizes = []
    for number in range(100):
        await outbox.append([sale(number, custom_data={"pad": "x" * 10_000})])
        sizes.append(path.with_name("outbox.db-wal").stat().st_size)

    assert len(checkpoints) > 5
    assert sizes == sorted(sizes)
    assert max(sizes) < 100_000 + 20_000 * len(checkpoints)  # a commit more at each checkpoint
    await outbox.aclose()


async def test_a_log_that_another_process_emptied_is_full_at_the_usual_size(path, monkeypatch):
    monkeypatch.setattr(write_ahead_log, "_WAL_BYTES", 100_000)
    monkeypatch.setattr(write_ahead_log, "_MAX_WAL_BYTES", 1_000_000)
    outbox = await opened(path)
    await outbox.append([sale(n, custom_data={"pad": "x" * 10_000}) for n in range(50)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    checkpoints = await traced_checkpoints(outbox)
    for number in range(50, 70):
        await outbox.append([sale(number, custom_data={"pad": "x" * 10_000})])

    assert checkpoints
    await outbox.aclose()


async def traced_checkpoints(outbox):
    checkpoints = []
    await outbox._run(
        lambda db: db.sql.set_trace_callback(
            lambda statement: checkpoints.append(statement) if "checkpoint" in statement else None
        )
    )
    return checkpoints


async def test_a_reader_does_not_make_each_commit_wait(path, monkeypatch):
    monkeypatch.setattr(write_ahead_log, "_WAL_BYTES", 200_000)
    monkeypatch.setattr(database, "_BUSY_STEP", 0.01)
    outbox = await opened(path)
    checkpoints = await traced_checkpoints(outbox)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log").fetchone()
        for number in range(50):
            await outbox.append([sale(number, custom_data={"pad": "x" * 10_000})])

    assert 1 <= len(checkpoints) < 10
    await outbox.aclose()


def _write(path, first):
    async def write():
        outbox = await opened(path)
        for number in range(first, first + 100):
            await outbox.append([sale(number, custom_data={"pad": "x" * 2_000})])
            await outbox.settle(await outbox.claim("alpha", 5, 60))
        await outbox.aclose()

    write_ahead_log._WAL_BYTES = 50_000
    write_ahead_log._MAX_WAL_BYTES = 100_000
    write_ahead_log._CHECKPOINT_SHARE = 0
    anyio.run(write)


async def test_checkpoints_of_several_processes_damage_nothing(path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, first)) for first in (0, 1000, 2000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert sql.execute("SELECT count(*), max(seq) FROM log").fetchone() == (300, 300)


async def test_the_write_ahead_log_shrinks_after_it_has_grown(path, monkeypatch):
    limit = 200_000
    monkeypatch.setattr(write_ahead_log, "_WAL_BYTES", limit)
    monkeypatch.setattr(write_ahead_log, "_MAX_WAL_BYTES", limit)
    wal = path.with_name("outbox.db-wal")
    outbox = await opened(path)
    big = [sale(n, custom_data={"pad": "x" * 10_000}) for n in range(200)]

    with closing(sqlite3.connect(path)) as reader:  # an open snapshot delays checkpoints
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log").fetchone()
        await outbox.append(big)
        assert wal.stat().st_size > 10 * limit
    for order in (1001, 1002):
        await outbox._run(lambda db: db.sql.execute("PRAGMA wal_checkpoint").fetchone())
        await outbox.append([sale(order)])

    assert wal.stat().st_size <= limit
    await outbox.aclose()


async def test_a_long_reader_that_lets_the_log_grow_is_told_once(path, monkeypatch, caplog):
    for name in ("_WAL_BYTES", "_MAX_WAL_BYTES"):
        monkeypatch.setattr(write_ahead_log, name, 2**18)
    monkeypatch.setattr(write_ahead_log, "_LARGE_WAL_BYTES", 2**20)
    log = path.with_name("outbox.db-wal")
    outbox = await opened(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log").fetchone()
        for number in range(40):
            batch = [sale(100 * number + n, custom_data={"pad": "x" * 500}) for n in range(100)]
            await outbox.append(batch)
            # Not a second after the last attempt, but at once.
            await outbox._run(lambda db: setattr(db.wal, "_next_forced_checkpoint", 0.0))
            if log.stat().st_size > 1.5 * 2**20:
                break
        reader.execute("COMMIT")
    assert len((await outbox.claim("alpha", 100, LEASE)).entries) == 100
    await outbox._run(lambda db: setattr(db.wal, "_next_forced_checkpoint", 0.0))
    await outbox.append(sales(999_999))

    (message,) = [text for text in caplog.messages if "outbox.db-wal" in text]
    assert "outbox.db-wal has 1 MiB and grows: a program has been reading" in message
    assert log.stat().st_size < 2**20
    await outbox.aclose()


# Opening


async def test_a_filesystem_without_write_ahead_log_is_refused(path, monkeypatch):
    connect = sqlite3.connect

    class NoWal(sqlite3.Connection):
        def execute(self, statement, *args):
            return super().execute(statement.replace("= WAL", "= DELETE"), *args)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **more: connect(*a, factory=NoWal, **more))

    with pytest.raises(OutboxError, match="write-ahead log"):
        await opened(path)
