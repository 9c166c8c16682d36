"""The file shrinks when conversions are dropped; a large backlog does not slow claiming down."""

import pytest

from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import LEASE, sale
from anytrack_async.testing.outbox_rules.base import deliver

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
