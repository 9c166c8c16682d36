"""Damaged outbox files: each is noticed by a lane or by `verify`, and none is silent."""

import random
import sqlite3
from contextlib import closing, suppress

import pytest

from anytrack_async.delivery.flow import LaneState
from anytrack_async.errors import DamagedOutboxError, OutboxError
from anytrack_async.events import LaneHeld
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.outbox.sqlite.verify import Account
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import CAPACITY, deliver, failures, reopen
from tests.delivery.doubles import FakeSink, World

pytestmark = pytest.mark.asyncio


async def used(outbox, clock):
    """Use an outbox so that every kind of row exists; orders 1 to 20, of which 11 is for beta."""
    await outbox.append(sales(*range(1, 11)))
    await outbox.append(sales(11), ["beta"])
    await outbox.append(sales(*range(12, 21)))
    first = await outbox.claim("alpha", 8, LEASE)
    failed = failures(first, 1) + failures(first, 2, 3, due=clock.now + 100)
    await outbox.settle_with_ids(first, failed, [*[None] * 3, *"abcde"])
    await outbox.release(
        await outbox.claim("alpha", 4, LEASE), due=clock.now + 100, counts_as_attempt=True
    )
    await outbox.claim("alpha", 3, LEASE)


async def test_an_intact_file_adds_up(outbox, clock):
    await used(outbox, clock)
    result = await outbox.verify()

    assert result.problems == []
    assert result.is_intact
    assert result.accounts == {
        "alpha": Account(accepted=19, delivered=5, waiting=13, dead=1),
        "beta": Account(accepted=20, delivered=0, waiting=20, dead=0),
    }


async def test_it_adds_up_after_everything_else_too(outbox, clock):
    await used(outbox, clock)
    await reopen(outbox, ["gamma"], from_start=["gamma"])
    clock.advance(1000)
    await deliver(outbox, "beta", "gamma")
    await outbox.prune(remember=0)
    await reopen(outbox, ["delta"], from_start=["delta"])
    await outbox.replay("alpha")
    await deliver(outbox, "alpha")
    await outbox.prune(remember=0)
    result = await outbox.verify()

    assert result.problems == []
    for account in result.accounts.values():
        assert account.accepted == account.delivered + account.waiting + account.dead
    assert result.accounts["alpha"] == Account(accepted=19, delivered=19, waiting=0, dead=0)
    assert result.accounts["delta"].waiting == result.accounts["delta"].accepted > 0


async def test_ids_of_destinations_are_forgotten_with_the_last_event_id_of_their_row(outbox, clock):
    await outbox.append(sales(*range(1, 101)))
    claim = await outbox.claim("alpha", 100, LEASE)
    await outbox.settle_with_ids(claim, (), [f"c-{number}" for number in range(100)])
    claim = await outbox.claim("beta", 100, LEASE)
    await outbox.settle(claim, failures(claim, 2, 40, 41))
    await outbox.append(sales(101))  # the newest id stays

    async def prune():
        clock.advance(1)
        await outbox.prune(remember=1)
        assert (await outbox.verify()).problems == []
        (rows,) = await outbox._run(
            lambda db: db.sql.execute("SELECT count(*) FROM remote_ids").fetchone()
        )
        return rows

    await prune()
    assert await prune() == 2  # of 1 to 32 and 33 to 64
    await outbox.discard("beta", ["sale:2", "sale:40"])
    assert await prune() == 2
    assert await prune() == 1
    await outbox.replay("beta")
    await deliver(outbox, "beta")
    await prune()
    assert await prune() == 0


DAMAGES = [
    "UPDATE destination SET cursor = 17 WHERE name = 'alpha'",
    "UPDATE destination SET cursor = 12 WHERE name = 'alpha'",
    "UPDATE destination SET cursor = 999 WHERE name = 'alpha'",
    "UPDATE destination SET cursor = 'x' WHERE name = 'alpha'",
    "UPDATE destination SET start = 5 WHERE name = 'alpha'",
    "UPDATE destination SET pending = 7 WHERE name = 'alpha'",
    "DELETE FROM exception WHERE seq = 1",
    "DELETE FROM exception WHERE seq = 2",
    "DELETE FROM span WHERE lease = 0",
    "UPDATE span SET last = last + 3 WHERE lease = 0",
    "UPDATE span SET size = size - 1 WHERE lease = 0",
    "UPDATE span SET lease = 77 WHERE lease > 0",
    "DELETE FROM log WHERE seq = 2",
    "DELETE FROM log WHERE seq = 10",
    "DELETE FROM log WHERE seq = 20",
    "DELETE FROM ids WHERE seq = 19",
    "UPDATE ids SET seq = 30 WHERE seq = 20",
    "INSERT INTO ids (seq, event_id) VALUES (0, 'x')",
    "UPDATE pruned SET upto = 30",
    "UPDATE pruned SET forgotten = 1",
    "UPDATE destination SET swept = 18 WHERE name = 'alpha'",
    "INSERT INTO dropped VALUES (1, 0)",
    "UPDATE log SET payload = x'00ff' WHERE seq = 19",
    "UPDATE remote_ids SET first = first - 1",
    "UPDATE remote_ids SET packed = x'7a00'",
    "UPDATE remote_ids SET last = last + 100, first = first + 100",
    "UPDATE remote_ids SET destination = 'gamma'",
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_verify_finds_damage(outbox, clock, damage):
    await used(outbox, clock)
    await outbox._run(lambda db: db.sql.execute(damage))

    assert not (await outbox.verify()).is_intact


@pytest.mark.parametrize("damage", DAMAGES[:5])
async def test_a_damaged_cursor_stops_its_lane_only(outbox, clock, path, damage):
    await used(outbox, clock)
    await outbox._run(lambda db: db.sql.execute(damage))
    await outbox.aclose()

    await outbox.open(["alpha", "beta"])

    with pytest.raises(DamagedOutboxError, match="verify"):
        await outbox.claim("alpha", 9, LEASE)
    assert len(await deliver(outbox, "beta")) == 20


async def test_a_lane_holds_when_the_file_is_damaged(path):
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha", "beta"])
    await outbox.append(sales(1))
    await outbox._run(
        lambda db: db.sql.execute("UPDATE destination SET cursor = 9 WHERE name = 'alpha'")
    )
    await outbox.aclose()
    alpha, beta = FakeSink("alpha"), FakeSink("beta")
    world = World(alpha, beta, outbox=outbox, drain=0.5)
    async with world.open():
        await world.until(lambda: world.events_of(LaneHeld) and beta.delivered)
        states = world.dispatcher.states()

    (held,) = world.events_of(LaneHeld)
    assert (held.destination, held.cause) == ("alpha", "outbox")
    assert "damaged" in held.reason
    assert "verify" in str(held.log_line())
    assert states == {"alpha": LaneState.HELD, "beta": LaneState.RUNNING}
    assert not alpha.calls


def damage_page(path, number, size, source):
    with path.open("r+b") as file:
        file.seek(number * size)
        file.write(source.randbytes(size))


@pytest.mark.parametrize("seed", range(20))
async def test_no_damaged_page_is_silent(path, clock, seed):
    """What is delivered and what is reported as damaged are together all that was accepted."""
    outbox = SQLiteOutbox(path, clock=clock)
    await outbox.open(["alpha", "beta"])
    pad = {"pad": "x" * 600}
    await outbox.append([sale(number, custom_data=pad) for number in range(1, 61)])
    claim = await outbox.claim("alpha", 20, LEASE)
    await outbox.settle(claim, failures(claim, 1, 2) + failures(claim, 3, due=clock.now))
    await outbox.aclose()
    source = random.Random(seed)
    with closing(sqlite3.connect(path)) as sql:
        (pages,) = sql.execute("PRAGMA page_count").fetchone()
        (size,) = sql.execute("PRAGMA page_size").fetchone()
    damage_page(path, source.randrange(1, pages), size, source)

    delivered = set(range(1, 21)) - {1, 2, 3}
    problems = []
    try:
        await outbox.open(["alpha", "beta"])
        problems = (await outbox.verify()).problems
        while (claim := await outbox.claim("alpha", CAPACITY, LEASE)).entries:
            delivered |= {int(entry.conversion.order_id) for entry in claim.entries}
            await outbox.settle(claim)
    except DamagedOutboxError as exc:
        problems.append(str(exc))
    finally:
        with suppress(OutboxError):
            await outbox.aclose()

    assert problems or delivered >= set(range(3, 61))


NOT_UTF8 = "CAST(x'616e6e61ff406578616d706c65' AS TEXT)"  # "anna", a wrong byte, "@example"


@pytest.mark.parametrize("column", ["payload", "digest"])
async def test_text_that_is_not_utf8_is_quoted_by_no_error(outbox, column, caplog):
    await outbox.append(sales(1, 2))
    damage = f"UPDATE log SET {column} = {NOT_UTF8} WHERE seq = 1"
    await outbox._run(lambda db: db.sql.execute(damage))
    problems = (await outbox.verify()).problems
    await reopen(outbox, ["alpha", "beta"])  # so that it remembers no record
    await outbox.settle(await outbox.claim("alpha", 9, LEASE))

    is_unreadable = column == "payload"
    assert len(problems) == is_unreadable
    assert await outbox.dead_letters("alpha") == []  # it can only be logged
    report = (await outbox.reports(["sale:1"]))["sale:1"].outcomes["alpha"]
    assert report.status == ("dead" if is_unreadable else "delivered")
    assert "anna" not in f"{problems} {report} {caplog.text}"


async def test_an_event_id_that_is_not_utf8_is_a_problem(outbox):
    await outbox.append(sales(1, 2))
    damage = f"UPDATE ids SET event_id = {NOT_UTF8} WHERE seq = 1"
    await outbox._run(lambda db: db.sql.execute(damage))

    assert (await outbox.verify()).problems == [
        "the event id at position 1 is not the one in its record"
    ]
