"""Long operations run in steps, and cheap ones stay cheap as the log grows."""

import sqlite3

import anyio.from_thread
import pytest

from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.outbox.dead_letters import DeadLetterFilter
from anytrack_async.outbox.sqlite import retention
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import reopen

pytestmark = pytest.mark.asyncio

HOUR = 3600.0


@pytest.fixture
def statements(outbox):
    """Return a function that starts recording every statement."""

    async def record():
        seen = []
        await outbox._run(lambda db: db.sql.set_trace_callback(seen.append))
        return seen

    return record


def count(statements, word):
    return sum(statement.startswith(word) for statement in statements)


async def deliver(outbox, *names):
    for name in names:
        while (claim := await outbox.claim(name, 100, LEASE)).entries:
            await outbox.settle(claim)


async def test_pruning_lets_other_processes_write_between_its_steps(
    outbox, statements, monkeypatch
):
    monkeypatch.setattr(retention, "ROWS_PER_STEP", 10)
    await outbox.append(sales(*range(25)))
    await deliver(outbox, "alpha", "beta")
    seen = await statements()

    assert await outbox.prune(remember=HOUR) == 25
    assert count(seen, "DELETE FROM log") == 3
    seen.clear()
    assert await outbox.prune(remember=0) == 0
    assert count(seen, "DELETE FROM ids WHERE seq >") == 3
    assert await outbox.reports([f"sale:{n}" for n in range(24)]) == {}


async def test_replaying_all_runs_in_steps(outbox, monkeypatch, statements):
    monkeypatch.setattr("anytrack_async.outbox.sqlite.dead_letter_pages.DEAD_LETTERS_PER_STEP", 4)
    await outbox.append(sales(*range(10)))
    claim = await outbox.claim("alpha", 10, LEASE)
    await outbox.settle(
        claim, [FailedEntry(seq=e.seq, attempts=1, error="") for e in claim.entries]
    )
    seen = await statements()

    assert await outbox.replay("alpha") == 10
    assert count(seen, "COMMIT") == 3


async def test_a_claim_skips_conversions_of_others_in_steps(outbox, monkeypatch, statements):
    monkeypatch.setattr("anytrack_async.outbox.sqlite.claim._POSITIONS_PER_STEP", 10)
    await outbox.append(sales(*range(35)), ["beta"])
    await outbox.append(sales(100), ["alpha"])
    seen = await statements()

    claim = await outbox.claim("alpha", 5, LEASE)

    assert [entry.conversion.order_id for entry in claim.entries] == ["100"]
    assert count(seen, "COMMIT") == 4


@pytest.mark.parametrize("size", [10, 100])
async def test_releasing_a_span_costs_the_same_for_any_size(outbox, statements, clock, size):
    await outbox.append(sales(*range(size)))
    claim = await outbox.claim("alpha", size, LEASE)
    rows = "SELECT total_changes()"
    before = await outbox._run(lambda db: db.sql.execute(rows).fetchone()[0])

    await outbox.release(claim, due=clock.now, counts_as_attempt=True)

    after = await outbox._run(lambda db: db.sql.execute(rows).fetchone()[0])
    assert after - before == 2


async def test_appending_writes_two_rows_for_any_number_of_destinations(outbox):
    await reopen(outbox, ["gamma", "delta"])
    await outbox.append(sales(99))  # writes counts too, which is not due again for a second
    rows = "SELECT total_changes()"
    before = await outbox._run(lambda db: db.sql.execute(rows).fetchone()[0])

    await outbox.append(sales(*range(10)))

    after = await outbox._run(lambda db: db.sql.execute(rows).fetchone()[0])
    assert after - before == 20


async def test_conversions_of_this_process_are_not_decoded(outbox, monkeypatch, path):
    await outbox.append(sales(*range(60)))
    monkeypatch.setattr("anytrack_async.outbox.sqlite.decoding.decode", lambda *_: 1 / 0)

    claim = await outbox.claim("alpha", 100, LEASE)

    assert [entry.conversion for entry in claim.entries] == sales(*range(60))


async def test_conversions_of_other_processes_are_decoded_with_their_digest(
    outbox, path, clock, monkeypatch
):
    digests = []

    def recording_decode(payload, digest):
        digests.append(digest)
        return decode(payload, digest)

    other = SQLiteOutbox(path, clock=clock)
    await other.open(["alpha", "beta"])
    await other.append(sales(1, 2))
    await other.aclose()
    monkeypatch.setattr("anytrack_async.outbox.sqlite.decoding.decode", recording_decode)

    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.settle(claim, [FailedEntry(seq=1, attempts=1, error="no")])
    again = SQLiteOutbox(path, clock=clock)
    await again.open(["alpha"])
    (letter,) = await again.dead_letters("alpha")
    await again.aclose()

    assert [entry.conversion for entry in claim.entries] == sales(1, 2)
    assert letter.conversion == sale(1)
    assert digests == [encode(conversion).digest for conversion in sales(1, 2, 1)]


async def test_the_cache_is_limited(outbox, monkeypatch):
    outbox._cache._size = 10
    await outbox.append(sales(*range(60)))
    assert len(outbox._cache._by_seq) == 10

    claim = await outbox.claim("alpha", 100, LEASE)

    assert [entry.conversion for entry in claim.entries] == sales(*range(60))


async def test_a_claim_can_mix_cached_and_stored_conversions(outbox):
    await outbox.append(sales(1))
    await outbox.append(sales(1, 2))

    claim = await outbox.claim("alpha", 9, LEASE)

    assert [entry.conversion for entry in claim.entries] == sales(1, 2)


async def test_frequent_queries_use_an_index(outbox):
    """Apart from small tables, none of them may read a whole table."""
    await outbox.append(sales(*range(5)))
    seen = []
    await outbox._run(lambda db: db.sql.set_trace_callback(seen.append))
    claim = await outbox.claim("alpha", 2, LEASE)
    await outbox.depths()
    await outbox.reports(["sale:1"])
    await outbox.dead_letters("alpha")
    for where in (DeadLetterFilter(code="E1"), DeadLetterFilter(text="no", min_age=1.0)):
        await outbox.search_dead_letters("alpha", where)
        await outbox.count_dead_letters("alpha", where)
    await outbox.prune(remember=HOUR)
    await outbox.settle(claim)
    await outbox.attempts("sale:1")
    await outbox.delivered_at("sale:1")
    await outbox.find(event_id="sale:1", click_id="none")
    await outbox._run(lambda db: db.sql.set_trace_callback(None))

    small = ("SCAN destination", "SCAN pruned", "SCAN loose", "SCAN CONSTANT ROW", "SCAN (subquery")
    small = (*small, "SCAN dropped")  # only its first rows
    for statement in {
        statement for statement in seen if statement.split()[0] in ("SELECT", "UPDATE", "DELETE")
    }:
        plan = await outbox._run(
            lambda db, text=statement: db.sql.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
        )
        scans = [row[3] for row in plan if row[3].startswith("SCAN")]
        assert all(scan.startswith(small) for scan in scans), (statement, scans)


async def test_a_failed_transaction_is_rolled_back(outbox, path):
    await outbox.append(sales(1))

    def fail(db):
        with db.transaction(synced=False) as sql:
            sql.execute("DELETE FROM log")
            raise sqlite3.OperationalError("made up")

    with pytest.raises(Exception, match="made up"):
        await outbox._run(fail)

    assert set(await outbox.reports(["sale:1"])) == {"sale:1"}


async def test_a_failed_rollback_does_not_block_the_next_transaction(path, monkeypatch):
    connect = sqlite3.connect

    class Stubborn(sqlite3.Connection):
        broken = False

        def rollback(self):
            if Stubborn.broken:
                Stubborn.broken = False
                raise sqlite3.OperationalError("disk I/O error")
            super().rollback()

    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **more: connect(*a, factory=Stubborn, **more)
    )
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])

    def fail(db):
        with db.transaction(synced=True) as sql:
            sql.execute("DELETE FROM destination")
            Stubborn.broken = True
            raise sqlite3.OperationalError("made up")

    with pytest.raises(OutboxError, match="disk I/O"):
        await outbox._run(fail)
    await outbox.append(sales(1))

    assert await outbox.destinations() == ("alpha",)
    await outbox.aclose()


async def test_many_reports_are_read_in_steps(outbox, statements):
    await outbox.append(sales(*range(450)))
    seen = await statements()

    assert len(await outbox.reports([f"sale:{n}" for n in range(450)])) == 450
    assert count(seen, "COMMIT") == 3


async def test_an_outbox_can_be_used_in_several_event_loops(path):
    outbox = SQLiteOutbox(path)

    def in_another_loop():
        async def use():
            await outbox.append(sales(2))

        with anyio.from_thread.start_blocking_portal() as portal:
            portal.call(use)

    await outbox.open(["alpha"])
    await anyio.to_thread.run_sync(in_another_loop)

    assert set(await outbox.reports(["sale:2"])) == {"sale:2"}
    await outbox.aclose()


async def test_a_checkpoint_survives_the_process(outbox, path):
    await outbox.save_checkpoint("import", b"page 3")
    await outbox.aclose()

    reopened = SQLiteOutbox(path)
    await reopened.open([])
    assert await reopened.checkpoint("import") == b"page 3"
    await reopened.aclose()


async def test_forgetting_leaves_ids_for_later_while_conversions_are_accepted(outbox, monkeypatch):
    forget, steps, rests = retention.forget_ids, [], []

    def forget_while_others_append(db, remember):
        steps.append(forget(db, remember))
        outbox._group_commit.groups += 1
        return steps[-1]

    async def sleep(seconds):
        rests.append(seconds)

    monkeypatch.setattr(retention, "IDS_PER_STEP", 10)
    await outbox.append(sales(*range(90)))
    await deliver(outbox, "alpha", "beta")
    await outbox.prune(remember=HOUR)
    monkeypatch.setattr(retention, "forget_ids", forget_while_others_append)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.access.anyio.sleep", sleep)

    monkeypatch.setattr("anytrack_async.outbox.sqlite.access._GENTLE_FOR", 0.0)
    await outbox.prune(remember=0)
    assert [step.rows for step in steps] == [10]
    assert rests == []

    monkeypatch.setattr("anytrack_async.outbox.sqlite.access._GENTLE_FOR", 1000.0)
    await outbox.prune(remember=0)
    assert len(steps) == 10
    assert rests == [19 * step.seconds for step in steps[1:-1]]


async def test_forgetting_goes_on_to_the_end_while_nothing_is_accepted(outbox, monkeypatch):
    monkeypatch.setattr(retention, "IDS_PER_STEP", 10)
    monkeypatch.setattr("anytrack_async.outbox.sqlite.access._GENTLE_FOR", 0.0)
    await outbox.append(sales(*range(90)))
    await deliver(outbox, "alpha", "beta")

    await outbox.prune(remember=0)

    assert await outbox.reports([f"sale:{n}" for n in range(89)]) == {}
