"""The warning about versions of SQLite that may damage a file."""

from __future__ import annotations

import sqlite3

import pytest

from anytrack_async import SQLiteOutbox
from anytrack_async.outbox.sqlite import write_ahead_log

DAY = 86_400


@pytest.fixture
def affected_version(monkeypatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.51.2")


async def open_and_close(path, clock=None) -> None:
    """Open the file as a process of its own would do."""
    write_ahead_log.log_once.cache_clear()
    outbox = SQLiteOutbox(path, clock=clock)
    await outbox.open(["meta"])
    await outbox.aclose()


def warnings(caplog) -> list[str]:
    return [record.message for record in caplog.records if "SQLite 3.51.2" in record.message]


@pytest.mark.parametrize(
    ("version", "is_affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 1), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_the_versions_that_may_damage_a_file_are_known(version, is_affected) -> None:
    assert write_ahead_log.has_wal_reset_bug(version) is is_affected


@pytest.mark.asyncio
async def test_the_warning_is_logged_once_a_day_for_each_file(
    tmp_path, affected_version, caplog
) -> None:
    now = 1_800_000_000.0
    for hours in (0, 1, 23):
        await open_and_close(tmp_path / "outbox.db", lambda hours=hours: now + hours * 3_600)
    assert len(warnings(caplog)) == 1
    assert "3.51.3 or later" in warnings(caplog)[0]

    await open_and_close(tmp_path / "other.db", lambda: now)
    assert len(warnings(caplog)) == 2

    await open_and_close(tmp_path / "outbox.db", lambda: now + DAY)
    assert len(warnings(caplog)) == 3


@pytest.mark.asyncio
async def test_a_process_that_opens_many_files_logs_it_once(
    tmp_path, affected_version, caplog
) -> None:
    await open_and_close(tmp_path / "first.db")
    outbox = SQLiteOutbox(tmp_path / "second.db")
    await outbox.open(["meta"])
    await outbox.aclose()

    assert len(warnings(caplog)) == 1


@pytest.mark.asyncio
async def test_a_damaged_note_of_the_last_warning_is_replaced(
    tmp_path, affected_version, caplog
) -> None:
    path = tmp_path / "outbox.db"
    await open_and_close(path)
    with sqlite3.connect(path) as sql:
        sql.execute("UPDATE checkpoints SET value = 'x'")
    sql.close()

    await open_and_close(path)
    await open_and_close(path)

    assert len(warnings(caplog)) == 2


@pytest.mark.asyncio
async def test_a_version_without_the_bug_leaves_no_trace(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    await open_and_close(tmp_path / "outbox.db")

    with sqlite3.connect(tmp_path / "outbox.db") as sql:
        assert sql.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
    sql.close()
    assert "SQLite" not in caplog.text
