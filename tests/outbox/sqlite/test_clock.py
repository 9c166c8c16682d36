"""The clock of an outbox file, when it is opened again and while several processes have it open."""

import sqlite3
from contextlib import closing

import attrs
import pytest

from anytrack_async.outbox.base import Appended, FailedEntry
from anytrack_async.outbox.sqlite import clock as clocks
from anytrack_async.outbox.sqlite.clock import FileClock
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.queries import file as file_queries
from anytrack_async.outbox.sqlite.queries import log as log_queries
from anytrack_async.outbox.sqlite.queries import retention as retention_queries
from anytrack_async.outbox.sqlite.tables import TABLES
from anytrack_async.testing.outbox_contract import LEASE
from anytrack_async.testing.outbox_rules.base import deliver, orders, sale, sales

DAY = 86_400.0
NOON = 1_777_636_800.0  # 1 May 2026, 12:00 UTC
MINUTE, HOUR = 60.0, 3_600.0


@attrs.define
class Machine:
    """A machine's clocks, in place of the module `time`."""

    wall: float = NOON
    uptime: float = 50.0
    boot_id: str = "boot-1"

    def time(self):
        return self.wall

    def monotonic(self):
        return self.uptime

    def run(self, seconds):
        self.wall += seconds
        self.uptime += seconds

    def reboot(self, wall):
        self.wall, self.uptime, self.boot_id = wall, 5.0, self.boot_id + "+1"


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(clocks, "time", machine)
    monkeypatch.setattr(clocks, "_boot_id", lambda: machine.boot_id)
    return machine


@pytest.fixture
def sql():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sql:
        sql.executescript(TABLES)
        yield sql


def started(sql):
    clock = FileClock()
    clock.start(sql)
    return clock


def seen(sql):
    return sql.execute(file_queries.CLOCK).fetchone()[2]


@pytest.fixture
def closed_at_noon(machine, sql):
    machine.wall -= HOUR
    clock = started(sql)
    machine.run(HOUR)
    assert clock.now() == NOON
    sql.execute("INSERT INTO loose VALUES (1)")
    clock.record(sql)
    return sql


class TestOpening:
    """The four cases in the comment of `FileClock`, for a file last written to at noon."""

    @pytest.mark.parametrize("jump", [0.0, -HOUR, 31 * DAY, -400 * DAY])
    def test_within_a_boot_only_the_monotonic_clock_counts(self, machine, closed_at_noon, jump):
        machine.run(10 * MINUTE)
        machine.wall += jump

        assert started(closed_at_noon).now() == NOON + 10 * MINUTE

    @pytest.mark.parametrize(
        ("wall", "expected"),
        [
            (NOON + 30 * MINUTE, NOON + 30 * MINUTE),
            (NOON - HOUR, NOON),
            (0.0, NOON),
            (NOON + 31 * DAY, NOON + DAY),
        ],
    )
    @pytest.mark.parametrize("boot_id", ["another", ""])
    def test_after_a_reboot_the_date_counts_within_limits(
        self, machine, closed_at_noon, wall, expected, boot_id
    ):
        machine.reboot(wall)
        machine.boot_id = boot_id

        assert started(closed_at_noon).now() == expected

    def test_a_machine_that_was_off_often_catches_up(self, machine, closed_at_noon):
        for _ in range(31):
            machine.reboot(NOON + 31 * DAY)
            clock = started(closed_at_noon)

        assert clock.now() == NOON + 31 * DAY

    def test_a_file_without_a_recorded_time_continues_from_its_newest_row(self, machine, sql):
        sql.execute(log_queries.INSERT_INTO_LOG_AT, (1, b"", b"", NOON, None))
        machine.wall = NOON - DAY

        assert started(sql).now() == NOON

    def test_or_from_the_last_time_something_was_dropped(self, machine, sql):
        sql.execute(retention_queries.INSERT_DROPPED, (1, NOON))
        machine.wall = NOON - DAY

        assert started(sql).now() == NOON


def test_processes_agree_though_the_date_was_set_between_their_starts(machine, sql):
    first = started(sql)
    machine.run(MINUTE)
    machine.wall += 8 * DAY
    second = started(sql)
    machine.run(MINUTE)

    assert first.now() == second.now() == NOON + 2 * MINUTE


class TestRecording:
    """How often the time is written."""

    def test_at_most_once_a_second(self, machine, sql):
        clock = started(sql)
        for _ in range(10):
            machine.run(0.3)
            sql.execute("INSERT INTO loose VALUES (NULL)")
            clock.record(sql)

        assert seen(sql) == pytest.approx(NOON + 2.4)

    def test_hourly_while_nothing_else_is_written(self, machine, sql):
        clock = started(sql)
        clock.record(sql)
        changes = sql.total_changes
        for _ in range(90):
            machine.run(MINUTE)
            clock.record(sql)

        assert sql.total_changes - changes == 1
        assert seen(sql) == NOON + HOUR

    def test_never_back(self, machine, sql):
        clock = started(sql)
        sql.execute("UPDATE clock SET seen = ?", (NOON + DAY,))
        machine.run(HOUR)
        clock.record(sql)

        assert seen(sql) == NOON + DAY


@pytest.mark.asyncio
class TestReopened:
    """A file that is opened when the wall clock shows another date; `clock` counts as that."""

    async def reopened(self, outbox, path, clock):
        await outbox.aclose()
        clock.advance(31 * DAY)
        again = SQLiteOutbox(path, clock=clock)
        await again.open(["alpha", "beta"])
        return again

    async def test_ids_are_remembered(self, outbox, path, clock):
        await outbox.append(sales(*range(20)))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=30 * DAY)
        again = await self.reopened(outbox, path, clock)

        await again.prune(remember=30 * DAY)
        assert list(await again.append(sales(*range(20)))) == [Appended.REPEAT] * 20
        clock.advance(30 * DAY)
        await again.append(sales(99))
        await again.prune(remember=30 * DAY)
        assert list(await again.append(sales(1))) == [Appended.NEW]
        await again.aclose()

    async def test_conversions_are_a_day_older_at_most(self, outbox, path, clock):
        await outbox.append(sales(1))
        again = await self.reopened(outbox, path, clock)

        (entry,) = (await again.claim("alpha", 9, LEASE)).entries
        assert again.now() - entry.accepted_at == DAY
        await again.aclose()

    async def test_moments_too_far_ahead_are_due(self, outbox, path, clock):
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 1, LEASE)
        far = clock.now + 400 * DAY
        await outbox.settle(claim, [FailedEntry(seq=1, attempts=1, error="no", due=far)])
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.release(claim, due=far, counts_as_attempt=False)
        claim = await outbox.claim("beta", 1, LEASE)
        await outbox.aclose()
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE lease SET until = ?, owner = 0", (far,))

        again = SQLiteOutbox(path, clock=clock)
        await again.open(["alpha", "beta"])

        assert orders(await again.claim("alpha", 9, LEASE)) == [1, 2]
        assert orders(await again.claim("beta", 9, LEASE)) == [1, 2]
        await again.aclose()

    async def test_moments_within_the_longest_wait_are_kept(self, outbox, path, clock):
        await outbox.append([sale(1)])
        claim = await outbox.claim("alpha", 1, LEASE)
        due = clock.now + DAY
        await outbox.settle(claim, [FailedEntry(seq=1, attempts=1, error="no", due=due)])
        await outbox.aclose()
        await outbox.open(["alpha"])

        assert (await outbox.claim("alpha", 9, LEASE)).next_due == due
        clock.advance(DAY)
        assert orders(await outbox.claim("alpha", 9, LEASE)) == [1]

    async def test_dead_letters_are_dated_by_the_wall_clock(self, outbox, path, clock):
        await outbox.append([sale(1)])
        again = await self.reopened(outbox, path, clock)
        claim = await again.claim("alpha", 1, LEASE)
        await again.settle(claim, [FailedEntry(seq=1, attempts=1, error="no")])

        (letter,) = await again.dead_letters("alpha")
        assert letter.died_at == clock.now
        assert again.now() < clock.now
        await again.aclose()
