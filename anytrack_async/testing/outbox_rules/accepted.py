"""Rules about listing accepted conversions, by period and by event id; both are optional."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest

from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsSummaries, ListsAccepted
from anytrack_async.testing.outbox_rules.base import (
    HOUR,
    Clock,
    Rules,
    dead_letter,
    deliver,
    sale,
    sales,
)


async def _accept_hourly(outbox: Outbox, clock: Clock, count: int, *, drop: bool) -> None:
    """Accept a sale every hour, and perhaps deliver and drop each before the next."""
    for order in range(1, count + 1):
        await outbox.append(sales(order))
        if drop:
            await deliver(outbox, "alpha", "beta")
            await outbox.prune(remember=100 * HOUR)
        clock.advance(HOUR)


class AcceptedRules(Rules):
    """Tests of `ListsAccepted`; skipped for an outbox without that part."""

    @pytest.fixture
    def lists(self, outbox: Outbox) -> ListsAccepted:
        """The open outbox."""
        if not isinstance(outbox, ListsAccepted):
            pytest.skip("this outbox does not list what it accepted")
        return outbox

    async def test_what_waits_is_listed_by_the_time_of_its_acceptance(
        self, outbox: Outbox, lists: ListsAccepted, clock: Clock
    ) -> None:
        start = clock.now
        await _accept_hourly(outbox, clock, 6, drop=False)

        listed = await lists.accepted(since=start + 1.5 * HOUR, until=start + 3.5 * HOUR)

        assert [event_id for _, event_id in listed] == ["sale:3", "sale:4"]
        assert not await lists.accepted(since=start + 9 * HOUR)

    async def test_what_was_dropped_is_listed_with_neighbours_at_most(
        self, outbox: Outbox, lists: ListsAccepted, clock: Clock
    ) -> None:
        start = clock.now
        await _accept_hourly(outbox, clock, 6, drop=True)

        listed = await lists.accepted(since=start + 1.5 * HOUR, until=start + 3.5 * HOUR)

        assert {"sale:3", "sale:4"} <= {event_id for _, event_id in listed}
        since = await lists.accepted(since=start + 3.5 * HOUR)
        assert [event_id for _, event_id in since][-2:] == ["sale:5", "sale:6"]
        assert "sale:2" not in [event_id for _, event_id in since]

    async def test_what_was_dropped_late_stands_in_its_place(
        self, outbox: Outbox, lists: ListsAccepted, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        await deliver(outbox, "alpha")
        await dead_letter(outbox, "beta", 2)
        await outbox.prune(remember=HOUR)
        everything = [f"sale:{order}" for order in (1, 2, 3, 4)]
        assert [event_id for _, event_id in await lists.accepted(since=0)] == everything

        await outbox.discard("beta", ["sale:2"])
        await outbox.prune(remember=HOUR)

        assert [event_id for _, event_id in await lists.accepted(since=0)] == everything

    async def test_pages_follow_each_other(
        self, outbox: Outbox, lists: ListsAccepted, clock: Clock
    ) -> None:
        await _accept_hourly(outbox, clock, 3, drop=True)
        await outbox.append(sales(4, 5))

        pages, after = [], 0
        while page := await lists.accepted(since=0, after=after, limit=2):
            after = page[-1][0]
            pages.append([event_id for _, event_id in page])

        assert pages == [["sale:1", "sale:2"], ["sale:3", "sale:4"], ["sale:5"]]

    async def test_forgotten_ids_are_counted(
        self, outbox: Outbox, lists: ListsAccepted, clock: Clock
    ) -> None:
        assert await lists.forgotten() == 0
        await _accept_hourly(outbox, clock, 3, drop=True)
        assert await lists.forgotten() == 0
        await outbox.append(sales(4))

        await outbox.prune(remember=0)

        assert await lists.forgotten() == 3
        assert [event_id for _, event_id in await lists.accepted(since=0)] == ["sale:4"]


class SummaryRules(Rules):
    """Tests of `KeepsSummaries`; skipped for an outbox without that part."""

    @pytest.fixture
    def keeper(self, outbox: Outbox) -> KeepsSummaries:
        """The open outbox."""
        if not isinstance(outbox, KeepsSummaries):
            pytest.skip("this outbox has no summaries to ask for")
        return outbox

    async def test_type_amount_and_currency_are_those_of_the_first_conversion(
        self, outbox: Outbox, keeper: KeepsSummaries
    ) -> None:
        await outbox.append([sale(1, revenue="49.90", currency="EUR"), sale(2, order_id="ü/2 ")])
        await outbox.append([sale(1, revenue="50.00")])

        summaries = await keeper.summaries(["sale:1", "sale:ü/2", "sale:3"])

        assert summaries == {"sale:1": "sale 49.90 EUR", "sale:ü/2": "sale 2 USD"}
        assert await keeper.summaries([]) == {}

    async def test_they_stay_as_long_as_the_ids(
        self, outbox: Outbox, keeper: KeepsSummaries, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)
        assert await keeper.summaries(["sale:1"]) == {"sale:1": "sale 1 USD"}

        clock.advance(2 * HOUR)
        await outbox.append(sales(2))  # the newest id may stay
        await outbox.prune(remember=HOUR)

        assert await keeper.summaries(["sale:1", "sale:2"]) == {"sale:2": "sale 2 USD"}
