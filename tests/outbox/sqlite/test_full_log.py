"""A write-ahead log that a long reader lets grow is bounded, and no read of ours is a long one."""

import sqlite3
from contextlib import closing, contextmanager

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite import verify, write_ahead_log
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import sale, sales
from anytrack_async.testing.outbox_rules.base import deliver

pytestmark = pytest.mark.asyncio

LIMIT = 2**21
BATCH = 100


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    for name in ("_WAL_BYTES", "_MAX_WAL_BYTES"):
        monkeypatch.setattr(write_ahead_log, name, 2**18)
    monkeypatch.setattr(write_ahead_log, "_FULL_WAL_BYTES", LIMIT)


@pytest.fixture
def log_size(path):
    return lambda: path.with_name("outbox.db-wal").stat().st_size


@contextmanager
def long_reader(path):
    """A program that reads the file in one transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM ids").fetchone()
        yield


def batch(number):
    first = BATCH * number
    return [sale(first + n, custom_data={"pad": "x" * 2_000}) for n in range(BATCH)]


async def append_until_refused(outbox):
    """Return how many were accepted until the log was full, and the error."""
    for number in range(100):
        try:
            await outbox.append(batch(number))
        except OutboxError as exc:
            return BATCH * number, str(exc)
    raise AssertionError("nothing was refused")


async def test_a_full_log_stops_accepting_but_not_delivering(outbox, path, log_size):
    await outbox.append(sales(999_998))
    with long_reader(path):
        count, message = await append_until_refused(outbox)
        assert "a program has been reading the outbox file for long" in message
        assert "end that program's transaction" in message
        largest = log_size()
        assert LIMIT <= largest < 2 * LIMIT

        assert len(await deliver(outbox, "alpha", "beta")) == 2 * (count + 1)
        with pytest.raises(OutboxError, match="nothing of this step was written"):
            await outbox.append(sales(999_999))
        assert log_size() < largest + LIMIT

    await outbox._run(lambda db: setattr(db.wal, "_next_retry", 0.0))  # some time has passed
    assert await outbox.append(sales(999_999)) == [Appended.NEW]
    assert log_size() < 2**18
    assert (await outbox.verify()).is_intact


async def test_nothing_is_dropped_or_rewritten_while_the_log_is_full(outbox, path, log_size):
    await outbox.append(batch(500))
    await deliver(outbox, "alpha", "beta")
    with long_reader(path):
        await append_until_refused(outbox)
        size = log_size()

        assert await outbox.prune(remember=0) == 0
        with pytest.raises(OutboxError, match="has been reading"):
            await outbox.vacuum()
        assert log_size() == size

    await outbox._run(lambda db: setattr(db.wal, "_next_retry", 0.0))  # some time has passed
    assert await outbox.prune(remember=0) == BATCH


async def test_verifying_does_not_keep_the_log_while_it_reads_records(outbox, path, monkeypatch):
    await outbox.append(batch(1))
    monkeypatch.setattr(verify, "_BYTES_PER_STEP", 20 * 2_000)
    states = []
    step = verify.Verifying.step

    def step_and_checkpoint(verifying, db):
        result = step(verifying, db)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            states.append(other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        return result

    monkeypatch.setattr(verify.Verifying, "step", step_and_checkpoint)

    assert (await outbox.verify()).is_intact
    assert len(states) > 5
    assert {busy for busy, *_ in states} == {0}


async def test_verifying_ends_before_it_makes_the_log_full(path, monkeypatch):
    monkeypatch.setattr(write_ahead_log, "_STEPS_BETWEEN_LOOKS", 100)
    outbox, shop = SQLiteOutbox(path), SQLiteOutbox(path)
    await outbox.open(["alpha"])
    await shop.open(["alpha"])
    await outbox.append(batch(1))
    with long_reader(path):
        for number in range(2, 6):
            await shop.append(batch(number))
        with pytest.raises(OutboxError, match="grows while the outbox file is read"):
            await outbox.verify()

    await outbox._run(lambda db: db.checkpoint(at_once=True))
    assert (await outbox.verify()).is_intact
    await shop.aclose()
    await outbox.aclose()
