"""When the disk is full, deliveries go on, and nothing more is accepted until there is space."""

import errno
import sqlite3
import subprocess
from contextlib import closing

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite import files, write_ahead_log
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.files import RESERVE_BYTES, Reserve
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import deliver, failures
from tests.delivery.doubles import FakeSink, World

pytestmark = pytest.mark.asyncio

DISK = 24 * 2**20


@pytest.fixture
def disk(tmp_path):
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk):
    """Use up the disk, as another program may do; return the file."""
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="space"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


async def append_until_full(outbox, first=0):
    """Append large batches until one is refused; return how many conversions were accepted."""
    number = first
    pad = {"pad": "x" * 2_000}
    with pytest.raises(OutboxError, match="disk is full"):
        while True:
            await outbox.append([sale(number + n, custom_data=pad) for n in range(20)])
            number += 20
    return number - first


async def wait_for_next_checkpoint(outbox):
    """Let the time pass in which a checkpoint that failed is not repeated."""

    def let_time_pass(db):
        db.wal._next_retry = db.wal._next_checkpoint = db.wal._next_forced_checkpoint = 0.0

    await outbox._run(let_time_pass)


class OpenedBefore(SQLiteOutbox):
    """Lets a dispatcher continue with an outbox that the test has opened."""

    def attach(self, max_attempts):
        pass

    async def open(self, destinations, *, from_start=()):
        if self._thread is None:
            await super().open(destinations, from_start=from_start)


@pytest.mark.parametrize("filled_by_outbox", [True, False])
async def test_lanes_go_on_when_the_disk_is_full(disk, filled_by_outbox):
    outbox = OpenedBefore(disk / "outbox.db")
    await outbox.open(["alpha", "beta"])
    count = 500
    if filled_by_outbox:
        count = await append_until_full(outbox)
    else:
        await outbox.append([sale(number) for number in range(count)])
    ballast = fill(disk)
    alpha, beta = FakeSink("alpha", batch=50), FakeSink("beta", batch=25)
    world = World(alpha, beta, outbox=outbox)
    async with world.open():
        await world.changed.until(
            lambda: len(alpha.delivered) == len(beta.delivered) == count, seconds=20
        )
        if not filled_by_outbox:
            count += await append_until_full(outbox, first=count)
            ballast.unlink()
        await world.outbox.prune(remember=0)
        await world.submit(*sales(999_999))

    assert len(set(alpha.delivered)) == len(set(beta.delivered)) == count + 1


async def test_space_that_pruning_freed_in_the_log_only_is_used(disk, monkeypatch):
    # As on a slow disk: a checkpoint that failed is not repeated soon.
    monkeypatch.setattr(write_ahead_log, "_CHECKPOINT_SHARE", 100_000)
    outbox = SQLiteOutbox(disk / "outbox.db")
    await outbox.open(["alpha"])
    count = await append_until_full(outbox)
    fill(disk)
    assert len(await deliver(outbox, "alpha")) == count
    monkeypatch.setattr(Database, "checkpoint", lambda *_, **__: None)  # as if it was too early
    await outbox.prune(remember=0)
    await wait_for_next_checkpoint(outbox)

    assert await outbox.append(sales(999_999)) == [Appended.NEW]
    monkeypatch.undo()
    await outbox.aclose()


async def test_pruning_leaves_the_space_of_a_full_disk_to_deliveries(disk):
    outbox = SQLiteOutbox(disk / "outbox.db")
    await outbox.open(["alpha"])
    count = await append_until_full(outbox)
    fill(disk)
    first = await outbox.claim("alpha", 2_000, LEASE)
    with closing(sqlite3.connect(disk / "outbox.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log").fetchone()  # the log cannot be emptied
        assert await outbox.settle(first)
        while await outbox.prune(remember=0):
            pass
        assert len(await deliver(outbox, "alpha")) == count - len(first.entries.seqs)
    await wait_for_next_checkpoint(outbox)
    await outbox.prune(remember=0)
    await wait_for_next_checkpoint(outbox)
    assert await outbox.append(sales(999_999)) == [Appended.NEW]
    await outbox.aclose()


async def test_failed_conversions_are_recorded_on_a_full_disk(disk):
    outbox = SQLiteOutbox(disk / "outbox.db")
    await outbox.open(["alpha"])
    await outbox.append(sales(*range(100)))
    fill(disk)

    for _ in range(20):
        claim = await outbox.claim("alpha", 100, LEASE)
        await outbox.settle(claim, failures(claim, *range(100), due=0.0))

    assert list((await outbox.claim("alpha", 1, LEASE)).entries.attempts) == [20]
    await outbox.aclose()


def copy(source, target):
    subprocess.run(["cp", "-a", "-T", source, target], check=True)


async def test_an_outbox_opens_on_a_full_disk_after_a_crash(disk, tmp_path):
    first = SQLiteOutbox(disk / "outbox.db")
    await first.open(["alpha"])
    await first.append(sales(1))
    copy(disk, tmp_path / "copy")
    await first.aclose()
    for file in disk.iterdir():
        file.unlink()
    copy(tmp_path / "copy", disk)  # as a crash leaves it
    fill(disk)

    outbox = SQLiteOutbox(disk / "outbox.db")
    await outbox.open(["alpha"])
    claim = await outbox.claim("alpha", 1, LEASE)
    assert await outbox.settle(claim)
    await outbox.aclose()


async def test_the_reserve_is_private_and_deleted_in_the_end(path):
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    await outbox.append(sales(1))
    reserve = path.with_name("outbox.db-reserve")

    assert reserve.stat().st_size == RESERVE_BYTES
    assert reserve.stat().st_mode & 0o777 == 0o600
    await outbox.aclose()
    assert not reserve.exists()


async def test_nothing_is_accepted_without_a_reserve(outbox, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Reserve, "_allocate", refuse)
        with pytest.raises(OutboxError, match="disk is full"):
            await outbox.append(sales(1))
    assert await outbox.append(sales(1)) == [Appended.NEW]


async def test_a_full_disk_releases_the_reserve_once(path, monkeypatch):
    connect = sqlite3.connect
    full = [True]

    class Full(sqlite3.Connection):
        def execute(self, statement, *args):
            if "DELETE FROM lease" in statement and full:
                full.pop()
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(statement, *args)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **more: connect(*a, factory=Full, **more))
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    await outbox.append(sales(1))
    claim = await outbox.claim("alpha", 1, LEASE)

    assert await outbox.settle(claim)
    assert not full
    assert path.with_name("outbox.db-reserve").stat().st_size == 0
    assert await outbox.append(sales(2)) == [Appended.NEW]
    await outbox.aclose()


async def test_a_disk_that_fails_is_not_called_full(tmp_path, caplog):
    outbox = SQLiteOutbox(tmp_path / "outbox.db")
    await outbox.open(["alpha"])
    await outbox.append(sales(1))
    calls = []

    def fail(db):
        calls.append(db)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with pytest.raises(OutboxError, match="the disk failed"):
        await outbox._run(fail)

    assert len(calls) == 1
    assert (tmp_path / "outbox.db-reserve").stat().st_size == RESERVE_BYTES
    assert "disk is full" not in caplog.text
    await outbox.aclose()


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
async def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path, monkeypatch, reason):
    reserve = Reserve(tmp_path / "outbox.db")
    assert not reserve.disk_is_full()

    def refuse(**_):
        raise OSError(reason, "no space")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    assert reserve.disk_is_full()


async def test_a_disk_without_space_is_full(disk):
    reserve = Reserve(disk / "outbox.db")
    assert not reserve.disk_is_full()
    fill(disk)
    assert reserve.disk_is_full()
