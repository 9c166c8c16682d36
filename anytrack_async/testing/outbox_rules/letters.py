"""Rules about dead letters."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import DeadLetter, Outbox
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    LEASE,
    Clock,
    Rules,
    back,
    deliver,
    kill,
    orders,
    sale,
    sales,
    tried,
)


def _who(letters: list[DeadLetter]) -> list[tuple[str, str]]:
    return [(letter.destination, letter.conversion.order_id or "") for letter in letters]


class Letters(Rules):
    """What `dead_letters` and `replay` promise."""

    async def test_a_dead_letter_says_why(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 2, LEASE)
        clock.advance(3)
        await outbox.settle(claim, back(claim, 2))

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

    async def test_the_dead_are_not_handed_out_and_hold_nobody_up(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        await kill(outbox, "alpha", 1, 2)
        await outbox.append(sales(3))
        clock.advance(9 * LEASE)

        assert await deliver(outbox, "alpha") == [3]
        assert (await outbox.claim("alpha", 9, LEASE)).next_due is None

    async def test_dead_letters_of_one_destination(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await kill(outbox, "alpha", 1)
        await kill(outbox, "beta", 2)

        assert _who(list(await outbox.dead_letters("beta"))) == [("beta", "2")]
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.dead_letters("gamma")

    async def test_paging_finds_each_dead_letter_once(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(7)))
        await kill(outbox, "alpha", 0, 1, 2, 3, 5)
        await kill(outbox, "beta", 1, 2, 6)

        found: list[DeadLetter] = []
        while page := await outbox.dead_letters(after=found[-1].seq if found else 0, limit=2):
            found += page

        expected = [("alpha", n) for n in "01235"] + [("beta", n) for n in "126"]
        assert sorted(_who(found)) == sorted(expected)
        assert [letter.seq for letter in found] == sorted(letter.seq for letter in found)

    async def test_a_page_is_not_longer_than_asked(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(7)))
        await kill(outbox, "alpha", *range(7))

        assert len(await outbox.dead_letters("alpha", limit=3)) == 3

    async def test_a_long_page(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        await kill(outbox, "alpha", *range(CAPACITY))

        letters = await outbox.dead_letters(limit=CAPACITY)

        assert [letter.conversion for letter in letters] == sales(*range(CAPACITY))

    async def test_replay_makes_all_due_as_if_never_tried(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2, 3))
        await kill(outbox, "alpha", 1, 3)
        await kill(outbox, "beta", 1)

        assert await outbox.replay("alpha") == 2
        claim = await outbox.claim("alpha", 9, LEASE)
        assert (orders(claim), tried(claim)) == ([1, 3], [0, 0])
        assert await outbox.settle(claim)
        assert _who(list(await outbox.dead_letters())) == [("beta", "1")]
        assert await outbox.replay("alpha") == 0

    async def test_replay_of_some(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        claim = await outbox.claim("alpha", 9, LEASE)
        retry = back(claim, 3, due=clock.now + 99)
        await outbox.settle(claim, back(claim, 1, 2) + retry)

        assert await outbox.replay("alpha", ["sale:2", "sale:3", "sale:4", "sale:5"]) == 1
        assert await deliver(outbox, "alpha") == [2]
        assert _who(list(await outbox.dead_letters())) == [("alpha", "1")]

    async def test_a_replayed_conversion_can_die_again(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        await kill(outbox, "alpha", 1)
        await outbox.replay("alpha")
        await kill(outbox, "alpha", 1)

        assert _who(list(await outbox.dead_letters())) == [("alpha", "1")]
        assert (await outbox.depths())["alpha"].dead == 1

    async def test_replay_for_an_unknown_destination_is_refused(self, outbox: Outbox) -> None:
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.replay("gamma")
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.replay("gamma", ["sale:1"])
