"""The files of an outbox: private, no links, erased in time, and missed when they are gone."""

import asyncio
import os
import shutil
import stat

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.models.customer import Customer
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import sale, sales
from anytrack_async.testing.outbox_rules.base import deliver
from tests.delivery.doubles import FakeSink, World

pytestmark = pytest.mark.asyncio


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def files_of(path):
    return [file for file in path.parent.iterdir() if file.name.startswith("outbox.db")]


async def opened(path, **options):
    outbox = SQLiteOutbox(path, **options)
    await outbox.open(["alpha", "beta"])
    return outbox


async def open_error(path):
    with pytest.raises(OutboxError) as error:
        await opened(path, busy_timeout=0.1)
    return str(error.value)


# Modes and links


async def test_an_empty_file_that_others_can_read_becomes_private(path):
    path.touch()
    path.chmod(0o644)
    outbox = await opened(path)
    await outbox.append(sales(1))

    assert [mode(file) for file in files_of(path)] == [0o600] * len(files_of(path))
    await outbox.aclose()


async def test_an_outbox_that_others_can_read_becomes_private_again(path):
    first = await opened(path)
    await first.append(sales(1))
    await first.aclose()
    path.chmod(0o664)
    wal = path.with_name("outbox.db-wal")
    wal.touch()
    wal.chmod(0o644)

    outbox = await opened(path)
    assert mode(path) == mode(wal) == 0o600
    await outbox.aclose()


async def test_a_file_whose_mode_cannot_be_changed_is_refused(path, monkeypatch):
    await (await opened(path)).aclose()
    path.chmod(0o640)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)

    assert "chmod 600" in await open_error(path)


@pytest.mark.parametrize("content", [b"Dear diary", b"SQLite format 3\0" + bytes(200)])
async def test_the_mode_of_other_files_is_not_changed(path, content):
    path.write_bytes(content)
    path.chmod(0o644)

    await open_error(path)

    assert mode(path) == 0o644


@pytest.mark.parametrize("exists", [True, False])
async def test_a_symbolic_link_is_refused(path, tmp_path, exists):
    target = tmp_path / "target.db"
    if exists:
        target.touch()
    path.symlink_to(target)

    assert "symbolic link" in await open_error(path)
    assert target.exists() is exists


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_link_beside_the_file_is_refused(path, tmp_path, suffix):
    path.with_name(f"outbox.db{suffix}").symlink_to(tmp_path / "elsewhere")

    assert "symbolic link" in await open_error(path)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_hard_link_is_refused(path, tmp_path):
    await (await opened(path)).aclose()
    os.link(path, tmp_path / "second.db")

    assert "hard links" in await open_error(path)


async def test_a_folder_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    await (await opened(tmp_path / "link" / "outbox.db")).aclose()
    assert (tmp_path / "real" / "outbox.db").exists()


# Removed or replaced


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_file_that_is_gone_is_noticed_before_anything_is_accepted(
    path, suffix, is_replaced
):
    outbox = await opened(path)
    await outbox.append(sales(1))
    file = path.with_name(f"outbox.db{suffix}")
    hidden = path.with_name("hidden")
    file.rename(hidden)
    if is_replaced:
        shutil.copy(hidden, file)

    with pytest.raises(OutboxError, match="replaced" if is_replaced else "removed"):
        await outbox.append(sales(2))
    hidden.replace(file)
    assert await outbox.append(sales(3)) == [Appended.NEW]
    await outbox.aclose()


async def test_a_folder_that_is_gone_is_noticed(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    outbox = await opened(folder / "outbox.db")
    shutil.rmtree(folder)

    with pytest.raises(OutboxError, match="removed"):
        await outbox.append(sales(1))
    await outbox.aclose()


# Erasing


def secret(number):
    return f"customer-{number}@secret.example"


def secrets_in(path):
    return sum(file.read_bytes().count(b"@secret.example") for file in files_of(path))


async def append_secrets(outbox, count=300):
    for number in range(count):
        customer = Customer(email=secret(number), first_name="x" * (number * 30))
        await outbox.append([sale(number, customer=customer)])


async def test_deleted_content_is_overwritten(path):
    outbox = await opened(path)

    value = await outbox._run(lambda db: db.sql.execute("PRAGMA secure_delete").fetchone())

    assert value == (1,)
    await outbox.aclose()


@pytest.mark.parametrize("closes", [True, False])
async def test_nothing_of_a_customer_remains_after_delivery(path, closes):
    outbox = await opened(path)
    await append_secrets(outbox)
    assert secrets_in(path) >= 300
    await deliver(outbox, "alpha", "beta")
    await outbox.prune(remember=1e9)
    if closes:
        await outbox.aclose()

    assert secrets_in(path) == 0
    await outbox.aclose()


async def test_nothing_remains_while_another_process_has_the_file_open(path):
    other = await opened(path)
    outbox = await opened(path)
    await append_secrets(outbox, 20)
    await deliver(outbox, "alpha", "beta")
    await outbox.prune(remember=1e9)
    await outbox.aclose()

    assert secrets_in(path) == 0
    await other.aclose()


# One object, one client


async def test_two_clients_cannot_use_one_object(path):
    outbox = SQLiteOutbox(path)
    first, second = (World(FakeSink(name), outbox=outbox) for name in ("alpha", "beta"))
    async with first.open():
        with pytest.raises(OutboxError, match="create one for each client"):
            async with second.dispatcher:
                pass
        await first.submit(*sales(1))
    async with second.open():
        await second.submit(*sales(2))

    assert first.sinks[0].delivered == ["sale:1"]


async def test_two_tasks_cannot_open_one_object_at_the_same_time(path):
    outbox = SQLiteOutbox(path)
    results = await asyncio.gather(
        outbox.open(["alpha"]), outbox.open(["alpha"]), return_exceptions=True
    )

    assert [type(result) for result in results] == [type(None), OutboxError]
    assert await outbox.append(sales(1)) == [Appended.NEW]
    await outbox.aclose()
