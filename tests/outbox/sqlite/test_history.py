"""The history in an outbox file: when counts are written, what is forgotten, what is checked."""

import sqlite3
from contextlib import closing

import pytest

from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.history import NAMES_PER_DAY, OTHER, ReleaseReason
from anytrack_async.outbox.sqlite.files import Reserve
from anytrack_async.outbox.sqlite.history import finding
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import deliver, reopen

pytestmark = pytest.mark.asyncio

TABLES = ("history_outcomes", "history_accepted", "history_batches", "history_attempts")


def rows(path, statement):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(statement).fetchall()


def change(path, statement):
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(statement)


async def test_counts_are_written_once_a_second_with_the_transaction_that_comes_then(
    outbox, path, clock
):
    written = []
    for _ in range(3):
        await outbox.append([sale(len(written))])
        written.append(rows(path, "SELECT sum(count) FROM history_accepted"))
        clock.advance(0.6)

    assert written == [[(1,)], [(1,)], [(3,)]]


@pytest.mark.parametrize(("is_full", "written"), [(False, [("delivered", 2)]), (True, [])])
async def test_a_process_that_only_delivers_writes_counts_while_the_disk_has_space(
    outbox, path, monkeypatch, is_full, written
):
    await outbox.append(sales(1, 2))
    await reopen(outbox, ["alpha", "beta"])  # as `anytrack deliver` does
    monkeypatch.setattr(Reserve, "disk_is_full", lambda _: is_full)
    await deliver(outbox, "alpha")
    await outbox.aclose()

    assert rows(path, "SELECT status, count FROM history_outcomes") == written


async def test_a_transaction_that_fails_counts_nothing(outbox, path, clock, monkeypatch):
    await outbox.append(sales(1))
    for seconds in (2.0, 0.0):  # it would write the counts, or keep them
        clock.advance(seconds)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError):
            patch.setattr(outbox._clock, "record", fail)
            patch.setattr(outbox._clock, "next_record", 0.0)
            await outbox.append(sales(2))
    await outbox.prune(remember=0)  # a transaction that would write what was left
    (counted,) = await outbox.accepted_counts(since=0)

    assert counted.count == 1
    assert rows(path, "SELECT count(*) FROM ids") == [(1,)]


def fail(*_):
    raise RuntimeError("the disk is gone")


async def test_processes_share_the_names_of_a_day(outbox, path, clock):
    other = SQLiteOutbox(path, clock=clock)
    await other.open(["alpha", "beta"])
    half = NAMES_PER_DAY // 2 + 5
    await outbox.append([sale(n, source=f"a{n}") for n in range(half)])
    await other.append([sale(n, source=f"b{n}") for n in range(half, 2 * half)])
    clock.advance(2.0)
    await outbox.append([sale(1_000, source="late"), sale(1_001, source="a3")])
    await other.aclose()

    counts = {item.source: item.count for item in await outbox.accepted_counts(since=0)}
    assert len(counts) == NAMES_PER_DAY + 1
    assert (counts[OTHER], counts["a3"]) == (11, 2)


async def test_nothing_of_the_history_outlives_the_ids(outbox, path, clock):
    await outbox.append(sales(1, 2, 3, 4))
    claim = await outbox.claim("alpha", 4, LEASE)
    await outbox.release_with_reason(
        claim, due=clock.now, counts_as_attempt=True, reason=ReleaseReason(error="down")
    )
    claim = await outbox.claim("alpha", 4, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=2, attempts=2, error="later", due=clock.now)])
    await deliver(outbox, "beta")
    await outbox.prune(remember=0)  # all but the second one
    await deliver(outbox, "alpha")
    await outbox.append(sales(5))
    assert (await outbox.verify()).is_intact
    await outbox.prune(remember=0)

    assert [rows(path, f"SELECT count(*) FROM {table}") for table in TABLES[2:]] == [[(0,)]] * 2
    assert (await outbox.verify()).is_intact


async def test_the_history_is_forgotten_with_the_ids_of_a_range(outbox, path, clock):
    await outbox.append(sales(1, 2))
    claim = await outbox.claim("alpha", 2, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=1, attempts=1, error="later", due=clock.now)])
    await deliver(outbox, "alpha", "beta")
    await outbox.append(sales(3))
    await outbox.prune(remember=0)

    assert [rows(path, f"SELECT count(*) FROM {table}") for table in TABLES[2:]] == [[(0,)]] * 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE history_attempts SET first = 90, last = 90",
        "UPDATE history_batches SET destination = 'nowhere'",
    ],
)
async def test_verifying_finds_rows_that_would_stay_for_ever(outbox, path, damage):
    await outbox.append(sales(1, 2))
    claim = await outbox.claim("alpha", 2, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=2, attempts=1, error="no")])
    change(path, damage)

    assert (await outbox.verify()).problems == ["1 rows of the history would never be forgotten"]


async def test_damaged_sums_count_as_nothing(outbox, path, clock):
    await outbox.append(sales(1))
    change(path, "UPDATE history_accepted SET value = 'much'")
    clock.advance(2.0)
    await outbox.append(sales(2))

    (counted,) = await outbox.accepted_counts(since=0)
    assert (counted.count, counted.value) == (2, 2)


async def test_a_search_reads_a_limited_part_of_the_log(outbox, monkeypatch):
    monkeypatch.setattr("anytrack_async.outbox.sqlite.history.outbox.SEARCHED_PER_STEP", 3)
    monkeypatch.setattr(finding, "BYTES_PER_STEP", 1_500)
    conversions = [sale(n, click_id=f"click-{n}") for n in range(1, 9)]
    await outbox.append(conversions)
    (oldest,) = await outbox.find(click_id="click-1")
    monkeypatch.setattr("anytrack_async.outbox.sqlite.history.outbox.MAX_SCANNED", 6)

    assert oldest.conversion == conversions[0]
    assert await outbox.find(click_id="click-1") == []
    assert [found.seq for found in await outbox.find(click_id="click-7")] == [7]


async def test_a_damaged_record_is_listed_without_its_conversion(outbox, path):
    await outbox.append(sales(1))
    change(path, "UPDATE log SET payload = x'7B'")

    (listed,) = await outbox.recent()
    assert (listed.event_id, listed.conversion) == ("sale:1", None)
