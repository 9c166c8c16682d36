"""Rules about dead letters: reading, replaying, discarding and correcting them."""

# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import Sequence

import pytest
import pytest_asyncio

from anytrack_async.errors import OutboxError
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.outcome import SKIPPED_CODE, Status
from anytrack_async.outbox.base import Appended, Depth, FailedEntry, Outbox
from anytrack_async.outbox.dead_letters import DeadLetter, DeadLetterFilter
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    HOUR,
    LEASE,
    Clock,
    Rules,
    attempts,
    dead_letter,
    deliver,
    failures,
    orders,
    sale,
    sales,
)


def _destinations_and_orders(letters: Sequence[DeadLetter]) -> list[tuple[str, str]]:
    return [(letter.destination, letter.conversion.order_id or "") for letter in letters]


async def _status(outbox: Outbox, order: int) -> dict[str, Status]:
    report = (await outbox.reports([f"sale:{order}"]))[f"sale:{order}"]
    return {name: outcome.status for name, outcome in report.outcomes.items()}


class DeadLetterRules(Rules):
    """Tests of `dead_letters`, `replay`, `discard` and `correct`."""

    # Reading and replaying

    async def test_a_dead_letter_contains_the_reason(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)
        clock.advance(3)
        await outbox.settle(claim, failures(claim, 2))

        assert list(await outbox.dead_letters()) == [
            DeadLetter(
                seq=claim.entries[1].seq,
                destination="alpha",
                conversion=sale(2),
                attempts=1,
                error="no thanks",
                code="E1",
                died_at=clock.now,
            )
        ]

    async def test_dead_letters_are_not_claimed_and_delay_nothing(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        await dead_letter(outbox, "alpha", 1, 2)
        await outbox.append(sales(3))
        clock.advance(9 * LEASE)

        assert await deliver(outbox, "alpha") == [3]
        assert (await outbox.claim("alpha", 9, LEASE)).next_due is None

    async def test_dead_letters_can_be_read_by_destination(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await dead_letter(outbox, "alpha", 1)
        await dead_letter(outbox, "beta", 2)

        assert _destinations_and_orders(await outbox.dead_letters("beta")) == [("beta", "2")]
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.dead_letters("gamma")

    async def test_paging_returns_each_dead_letter_once(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(7)))
        await dead_letter(outbox, "alpha", 0, 1, 2, 3, 5)
        await dead_letter(outbox, "beta", 1, 2, 6)

        letters: list[DeadLetter] = []
        while page := await outbox.dead_letters(after=letters[-1].seq if letters else 0, limit=2):
            letters += page

        expected = [("alpha", order) for order in "01235"] + [("beta", order) for order in "126"]
        assert sorted(_destinations_and_orders(letters)) == sorted(expected)
        assert [letter.seq for letter in letters] == sorted(letter.seq for letter in letters)

    async def test_a_page_is_not_longer_than_its_limit(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(7)))
        await dead_letter(outbox, "alpha", *range(7))

        assert len(await outbox.dead_letters("alpha", limit=3)) == 3

    async def test_a_page_can_be_long(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        await dead_letter(outbox, "alpha", *range(CAPACITY))

        letters = await outbox.dead_letters(limit=CAPACITY)

        assert [letter.conversion for letter in letters] == sales(*range(CAPACITY))

    async def test_replaying_all_makes_them_due_with_0_attempts(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2, 3))
        await dead_letter(outbox, "alpha", 1, 3)
        await dead_letter(outbox, "beta", 1)

        assert await outbox.replay("alpha") == 2
        claim = await outbox.claim("alpha", 9, LEASE)
        assert (orders(claim), attempts(claim)) == ([1, 3], [0, 0])
        assert await outbox.settle(claim)
        assert _destinations_and_orders(await outbox.dead_letters()) == [("beta", "1")]
        assert await outbox.replay("alpha") == 0

    async def test_replaying_by_id_ignores_ids_that_are_not_dead(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        claim = await outbox.claim("alpha", 9, LEASE)
        retry = failures(claim, 3, due=clock.now + 99)
        await outbox.settle(claim, failures(claim, 1, 2) + retry)

        assert await outbox.replay("alpha", ["sale:2", "sale:3", "sale:4", "sale:5"]) == 1
        assert await deliver(outbox, "alpha") == [2]
        assert _destinations_and_orders(await outbox.dead_letters()) == [("alpha", "1")]

    async def test_a_replayed_conversion_can_die_again(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        await dead_letter(outbox, "alpha", 1)
        await outbox.replay("alpha")
        await dead_letter(outbox, "alpha", 1)

        assert _destinations_and_orders(await outbox.dead_letters()) == [("alpha", "1")]
        assert (await outbox.depths())["alpha"].dead == 1

    async def test_replaying_for_an_unknown_destination_raises(self, outbox: Outbox) -> None:
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.replay("gamma")
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.replay("gamma", ["sale:1"])

    async def test_replaying_at_all_destinations(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await dead_letter(outbox, "alpha", 1, 2)
        await dead_letter(outbox, "beta", 1)

        assert await outbox.replay(None, ["sale:1"]) == 2
        assert await outbox.replay(None) == 1
        assert await deliver(outbox, "alpha", "beta") == [1, 2, 1]

    # Filters

    @pytest_asyncio.fixture
    async def several(self, outbox: Outbox, clock: Clock) -> None:
        """Dead letters of alpha, one each hour: 1 and 4 too old, 2 and 3 of unknown products."""
        for number in range(1, 5):
            await outbox.append(sales(number))
            claim = await outbox.claim("alpha", 1, LEASE)
            is_old = number in (1, 4)
            failure = FailedEntry(
                seq=claim.entries[0].seq,
                attempts=1,
                error="The event is TOO OLD" if is_old else f"unknown product of {number}",
                code="280" if is_old else None,
            )
            assert await outbox.settle(claim, [failure])
            clock.advance(HOUR)

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({}, "1234"),
            ({"code": "280"}, "14"),
            ({"code": "28"}, ""),
            ({"text": "too old"}, "14"),
            ({"text": "Product"}, "23"),
            ({"text": "%"}, ""),
            ({"code": "280", "text": "product"}, ""),
            ({"min_age": 3 * HOUR}, "12"),
            ({"max_age": 2 * HOUR}, "34"),
            ({"min_age": 2 * HOUR, "max_age": 3 * HOUR}, "23"),
            ({"died_before": 1_700_000_000.0 + HOUR}, "1"),
            ({"died_after": 1_700_000_000.0 + HOUR}, "34"),
        ],
    )
    async def test_a_filter_selects_dead_letters(
        self, outbox: Outbox, several: None, where: dict[str, str], expected: str
    ) -> None:
        condition = DeadLetterFilter(**where)  # type: ignore[arg-type]
        letters = await outbox.dead_letters(where=condition)
        assert "".join(letter.conversion.order_id or "" for letter in letters) == expected
        assert await outbox.replay("beta", where=condition) == 0
        assert await outbox.replay("alpha", where=condition) == len(expected)
        claim = await outbox.claim("alpha", 9, LEASE)
        assert orders(claim) == [int(number) for number in expected]

    async def test_a_filter_applies_to_event_ids_too(self, outbox: Outbox, several: None) -> None:
        ids, where = ["sale:1", "sale:2", "sale:9"], DeadLetterFilter(code="280")

        letters = await outbox.dead_letters(event_ids=ids, where=where)

        assert [letter.event_id for letter in letters] == ["sale:1"]
        assert await outbox.discard("alpha", ids, where=where) == 1
        assert await outbox.replay(None, ids, where=where) == 0

    async def test_pages_of_event_ids_are_in_log_order(self, outbox: Outbox, several: None) -> None:
        ids = ["sale:3", "sale:1", "sale:4", "sale:1"]

        first = await outbox.dead_letters(event_ids=ids, limit=2)
        second = await outbox.dead_letters(event_ids=ids, limit=2, after=first[-1].seq)

        assert [letter.event_id for letter in [*first, *second]] == ["sale:1", "sale:3", "sale:4"]
        assert not await outbox.dead_letters("beta", event_ids=ids)

    async def test_pages_with_a_filter_return_each_dead_letter_once(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(30)))
        await dead_letter(outbox, "alpha", *range(30))
        await dead_letter(outbox, "beta", *range(0, 30, 2))
        where = DeadLetterFilter(code="E1")

        letters: list[DeadLetter] = []
        while page := await outbox.dead_letters(
            where=where, after=letters[-1].seq if letters else 0, limit=4
        ):
            letters += page

        assert len(letters) == len({(letter.seq, letter.destination) for letter in letters}) == 45

    # Discarding

    async def test_a_discarded_dead_letter_is_gone_and_reported(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        await dead_letter(outbox, "alpha", 1, 2)
        await deliver(outbox, "beta")

        assert await outbox.discard("alpha", ["sale:1", "sale:9"]) == 1
        assert await outbox.discard("alpha", ["sale:1"]) == 0
        assert _destinations_and_orders(await outbox.dead_letters()) == [("alpha", "2")]
        assert (await outbox.depths())["alpha"] == Depth(dead=1)
        assert await _status(outbox, 1) == {"alpha": Status.DISCARDED, "beta": Status.DELIVERED}
        outcome = (await outbox.reports(["sale:1"]))["sale:1"].outcomes["alpha"]
        assert (outcome.error, outcome.code, outcome.attempts) == ("no thanks", "E1", 1)
        clock.advance(HOUR)
        assert await outbox.replay("alpha", ["sale:1"]) == 0
        assert await deliver(outbox, "alpha") == []

    async def test_a_discarded_one_with_the_code_of_a_skip_is_reported_as_skipped(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        skipped = FailedEntry(
            seq=claim.entries[0].seq, attempts=1, error="no consent", code=SKIPPED_CODE
        )
        await outbox.settle(claim, [skipped])
        await deliver(outbox, "beta")
        expected = {"alpha": Status.SKIPPED, "beta": Status.DELIVERED}
        assert await _status(outbox, 1) == expected, "before it is discarded"

        await outbox.discard("alpha", ["sale:1"])

        assert await _status(outbox, 1) == {"alpha": Status.SKIPPED, "beta": Status.DELIVERED}

    async def test_only_dead_letters_are_discarded(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        claim = await outbox.claim("alpha", 3, LEASE)
        retry = failures(claim, 2, due=clock.now)
        await outbox.settle(claim, failures(claim, 1) + retry)

        assert await outbox.discard("alpha") == 1
        assert await deliver(outbox, "alpha") == [2, 4]
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.discard("gamma")

    async def test_discarding_lets_the_payload_go_and_keeps_the_id(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        await dead_letter(outbox, "alpha", 2)
        await dead_letter(outbox, "beta", 2)
        assert await outbox.prune(remember=HOUR) == 2

        assert await outbox.discard("alpha") == 1
        assert await outbox.prune(remember=HOUR) == 0
        assert await outbox.discard(None) == 1
        assert await outbox.prune(remember=HOUR) == 1
        assert await _status(outbox, 2) == dict.fromkeys(self.destinations, Status.DISCARDED)
        assert list(await outbox.append(sales(2))) == [Appended.REPEAT]
        clock.advance(HOUR)
        await outbox.append(sales(4))
        await outbox.prune(remember=HOUR)
        assert list(await outbox.append(sales(2))) == [Appended.NEW]
        assert await _status(outbox, 2) == dict.fromkeys(self.destinations, Status.WAITING)

    async def test_discarding_makes_no_destination_fuller(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        await dead_letter(outbox, "alpha", *range(CAPACITY))
        await deliver(outbox, "beta")
        assert await outbox.discard("alpha") == CAPACITY

        assert len(await outbox.append(sales(*range(CAPACITY, 2 * CAPACITY)))) == CAPACITY
        assert (await outbox.depths())["alpha"] == Depth(waiting=CAPACITY)

    # Correcting

    async def test_a_corrected_conversion_is_sent_where_it_is_dead(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await dead_letter(outbox, "alpha", 1)
        await deliver(outbox, "beta")
        corrected = sale(1, revenue="49.90", currency="EUR", source="corrected")

        assert list(await outbox.correct(corrected)) == ["alpha"]

        claim = await outbox.claim("alpha", 9, LEASE)
        assert [entry.conversion for entry in claim.entries] == [corrected]
        assert attempts(claim) == [0]
        assert await outbox.settle(claim)
        assert await deliver(outbox, "beta") == []
        assert (await outbox.reports(["sale:1"]))["sale:1"].delivered

    async def test_destinations_that_wait_get_the_corrected_conversion(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(sales(1))
        await dead_letter(outbox, "alpha", 1)
        corrected = sale(1, revenue=7)
        await outbox.correct(corrected)

        claim = await outbox.claim("beta", 9, LEASE)

        assert [entry.conversion for entry in claim.entries] == [corrected]

    async def test_repeats_are_compared_with_the_corrected_conversion(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        await dead_letter(outbox, "alpha", 1)
        await outbox.correct(sale(1, revenue=7))

        first, second = await outbox.append([sale(1, revenue=7), sale(1)])

        assert first is Appended.REPEAT
        assert isinstance(second, Contradiction)
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)
        assert isinstance((await outbox.append(sales(1)))[0], Contradiction)

    async def test_a_correction_outlives_pruning_around_it(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2, 3))
        await dead_letter(outbox, "alpha", 2)
        await deliver(outbox, "beta")
        assert await outbox.prune(remember=HOUR) == 2

        assert list(await outbox.correct(sale(2, revenue=7))) == ["alpha"]
        claim = await outbox.claim("alpha", 9, LEASE)
        assert [entry.conversion.revenue for entry in claim.entries] == [7]
        assert await outbox.settle(claim, failures(claim, 2))
        (letter,) = await outbox.dead_letters()
        assert letter.conversion.revenue == 7

    @pytest.mark.parametrize("state", ["unknown", "waiting", "leased", "delivered", "discarded"])
    async def test_only_a_dead_letter_can_be_corrected(self, outbox: Outbox, state: str) -> None:
        if state != "unknown":
            await outbox.append(sales(1))
        if state in ("leased", "delivered"):
            claim = await outbox.claim("alpha", 1, LEASE)
            if state == "delivered":
                await outbox.settle(claim)
        if state == "discarded":
            await dead_letter(outbox, "alpha", 1)
            await outbox.discard("alpha")

        assert list(await outbox.correct(sale(1, revenue=7))) == []

        if state != "unknown":
            await deliver(outbox, "alpha")
            claim = await outbox.claim("beta", 1, LEASE)
            assert [entry.conversion for entry in claim.entries] == sales(1)
