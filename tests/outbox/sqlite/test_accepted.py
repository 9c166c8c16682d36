"""`ListsAccepted`: what was accepted in a period, also after payloads and ids were dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from anytrack_async import Conversion, ListsAccepted, SQLiteOutbox

pytestmark = pytest.mark.asyncio

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def outbox(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteOutbox]:
    outbox = SQLiteOutbox(tmp_path / "outbox.db", clock=clock)
    await outbox.open(["alpha"])
    yield outbox
    await outbox.aclose()


async def accept(outbox: SQLiteOutbox, clock: Clock, days: int, *, deliver: bool) -> None:
    """Accept a sale a day, and deliver and drop each on the same day."""
    for day in range(days):
        await outbox.append([Conversion.sale(order_id=str(day), revenue="1")])
        if deliver:
            claim = await outbox.claim("alpha", 10, 60)
            await outbox.settle(claim)
            await outbox.prune(remember=100 * DAY)
        clock.now += DAY


async def ids(outbox: SQLiteOutbox, since: float, until: float | None = None) -> list[str]:
    return [event_id for _, event_id in await outbox.accepted(since=since, until=until)]


@pytest.mark.parametrize("deliver", [True, False])
async def test_conversions_of_a_period_are_listed(
    outbox: SQLiteOutbox, clock: Clock, deliver: bool
):
    start = clock.now
    await accept(outbox, clock, 6, deliver=deliver)

    assert isinstance(outbox, ListsAccepted)
    assert await ids(outbox, start + 1.5 * DAY) == ["sale:2", "sale:3", "sale:4", "sale:5"]
    middle = await ids(outbox, start + 1.5 * DAY, start + 3.5 * DAY)
    # What was dropped together may have been accepted before its neighbours: one more is listed.
    assert middle == ["sale:2", "sale:3", "sale:4"][: 3 if deliver else 2]


async def test_pages_follow_each_other(outbox: SQLiteOutbox, clock: Clock):
    await accept(outbox, clock, 5, deliver=True)

    first = await outbox.accepted(since=0, limit=3)
    rest = await outbox.accepted(since=0, after=first[-1][0], limit=3)

    assert [event_id for _, event_id in (*first, *rest)] == [f"sale:{n}" for n in range(5)]


async def test_forgotten_ids_are_counted(outbox: SQLiteOutbox, clock: Clock):
    await accept(outbox, clock, 4, deliver=True)
    assert await outbox.forgotten() == 0

    await outbox.prune(remember=0)

    assert await outbox.forgotten() == 3  # the newest id stays
    assert await ids(outbox, 0) == ["sale:3"]
