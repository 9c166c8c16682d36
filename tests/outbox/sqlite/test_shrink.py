"""The file shrinks when conversions are dropped; a large backlog does not slow claiming down."""

import pytest

from anytrack_async.models.identifiers import new_event_id as uuid7
from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.sqlite import retention
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale, sales
from anytrack_async.testing.outbox_rules.base import HOUR, deliver, failures

pytestmark = pytest.mark.asyncio


async def test_an_outbox_that_remembers_nothing_stays_small(path):
    outbox = SQLiteOutbox(path)
    await outbox.open(["alpha"])
    pad = {"pad": "x" * 1_000}
    for start in range(0, 12_000, 1_000):
        await outbox.append([sale(start + number, custom_data=pad) for number in range(1_000)])
        if start == 10_000:
            largest = path.stat().st_size
    while (claim := await outbox.claim("alpha", 1_000, LEASE)).entries:
        await outbox.settle(claim)
    await outbox.prune(remember=0)
    await outbox.aclose()

    assert largest > 10_000_000
    assert path.stat().st_size < 2_000_000


async def test_a_used_file_keeps_some_unused_pages(outbox, path):
    await outbox.append([sale(number) for number in range(1_000)])
    await deliver(outbox, "alpha", "beta")
    size = path.stat().st_size
    await outbox.prune(remember=0)

    assert path.stat().st_size >= size


async def stored(outbox):
    """Return the order numbers whose payloads are stored."""
    rows = await outbox._run(
        lambda db: db.sql.execute("SELECT event_id FROM ids JOIN log USING (seq)").fetchall()
    )
    return [int(event_id.removeprefix("sale:")) for (event_id,) in rows]


async def remembered(outbox):
    """Return how many ids are in the file."""
    return await outbox._run(lambda db: db.sql.execute("SELECT count(*) FROM ids").fetchone()[0])


async def test_a_destination_that_stands_still_keeps_only_what_is_for_it(
    outbox, clock, monkeypatch
):
    monkeypatch.setattr(retention, "ROWS_PER_STEP", 4)
    await outbox.append(sales(1))
    await outbox.append(sales(*range(2, 12)), ["alpha"])
    await outbox.append(sales(12), ["alpha", "beta"])
    await outbox.append(sales(13), ["beta"])
    await outbox.append(sales(14), ["alpha", "gamma"])  # gamma may still be registered
    await deliver(outbox, "alpha")
    await outbox.append(sales(15), ["alpha"])

    assert await outbox.prune(remember=HOUR) == 10
    assert await stored(outbox) == [1, 12, 13, 14, 15]
    assert await outbox.prune(remember=HOUR) == 0
    assert list(await outbox.append(sales(*range(1, 16)))) == [Appended.REPEAT] * 15
    clock.advance(HOUR)
    await outbox.prune(remember=HOUR)
    assert await remembered(outbox) == 5
    assert await outbox.prune(remember=HOUR) == 0
    assert (await outbox.verify()).problems == []

    assert await deliver(outbox, "beta", "alpha") == [1, 12, 13, 15]
    assert await outbox.prune(remember=HOUR) == 5
    clock.advance(HOUR)
    await outbox.prune(remember=HOUR)
    assert await remembered(outbox) == 1  # the newest
    assert (await outbox.verify()).problems == []


async def test_what_failed_before_is_dropped_while_another_destination_stands_still(outbox, clock):
    await outbox.append(sales(1, 2, 3), ["alpha"])
    await outbox.append(sales(4), ["beta"])
    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.settle(claim, failures(claim, 1) + failures(claim, 2, due=clock.now))
    assert await outbox.prune(remember=HOUR) == 1
    assert await stored(outbox) == [1, 2, 4]

    assert await deliver(outbox, "alpha") == [2]
    assert await outbox.prune(remember=HOUR) == 1
    await outbox.replay("alpha")
    assert await deliver(outbox, "alpha") == [1]
    assert await outbox.prune(remember=HOUR) == 1
    assert await stored(outbox) == [4]
    reports = await outbox.reports([f"sale:{order}" for order in (1, 2, 3)])
    assert all(report.delivered for report in reports.values())
    assert (await outbox.verify()).problems == []


async def test_a_forgotten_destination_keeps_nothing_that_was_for_it_alone(outbox):
    await outbox.append(sales(1, 2), ["alpha"])
    await outbox.append(sales(3), ["beta"])
    claim = await outbox.claim("alpha", 9, LEASE)
    await outbox.settle(claim, failures(claim, 1))
    await outbox.prune(remember=HOUR)
    await outbox.forget("alpha")

    await deliver(outbox, "beta")
    assert await outbox.prune(remember=HOUR) == 2
    assert await stored(outbox) == []


@pytest.mark.parametrize(
    ("make_id", "limit"),
    [(lambda n: f"sale:{100_000 + n}", 64), (lambda _: str(uuid7()), 120)],
)
async def test_a_remembered_id_needs_few_bytes(outbox, path, make_id, limit):
    count = 6_000
    for start in range(0, count, 1_000):
        numbers = range(start, start + 1_000)
        await outbox.append([sale(n, event_id=make_id(n)) for n in numbers])
        await deliver(outbox, "alpha", "beta")
    await outbox.prune(remember=HOUR)
    used = await outbox._run(
        lambda db: db.sql.execute(
            "SELECT page_size * (page_count - freelist_count) FROM pragma_page_size, "
            "pragma_page_count, pragma_freelist_count"
        ).fetchone()[0]
    )

    other_tables = 30 * 4096
    assert (used - other_tables) / count <= limit


async def steps_of_a_claim(outbox):
    """Return how many hundreds of SQLite's instructions one claim takes."""
    count = 0

    def step():
        nonlocal count
        count += 1

    await outbox._run(lambda db: db.sql.set_progress_handler(step, 100))
    claim = await outbox.claim("alpha", 10, LEASE)
    await outbox._run(lambda db: db.sql.set_progress_handler(None, 100))
    assert len(claim.entries) == 10
    await outbox.settle(claim)
    return count


@pytest.mark.parametrize("due_in", [0.0, 1000.0])
async def test_a_claim_costs_the_same_with_thousands_of_released_spans(outbox, clock, due_in):
    await outbox.append([sale(number) for number in range(1_600)])
    before = await steps_of_a_claim(outbox)
    for _ in range(700):
        claim = await outbox.claim("alpha", 2, LEASE)
        await outbox.release(claim, due=clock.now + 500 + due_in, counts_as_attempt=True)
    clock.advance(600)

    assert await steps_of_a_claim(outbox) <= 3 * before + 10


async def test_a_destination_that_is_held_does_not_keep_conversions_of_others(outbox, monkeypatch):
    monkeypatch.setattr(retention, "_POSITIONS_PER_STEP", 4)
    for number in range(10):
        await outbox.append([sale(number)], ["alpha"] if number % 3 else None)
    await deliver(outbox, "alpha")
    await outbox.prune(remember=HOUR)

    assert await stored(outbox) == [0, 3, 6, 9]
