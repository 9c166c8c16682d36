"""Rules about cleaning up."""

# ruff: noqa: D102, S101

from __future__ import annotations

from anytrack_async.outbox.base import Appended, Outbox
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    HOUR,
    LEASE,
    Clock,
    Rules,
    back,
    deliver,
    kill,
    sales,
)

NEW, REPEAT = Appended.NEW, Appended.REPEAT


class Retention(Rules):
    """What `prune` promises."""

    async def test_what_every_destination_has_is_dropped(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2, 3))
        await deliver(outbox, "alpha")
        assert await outbox.prune(remember=HOUR) == 0
        await outbox.settle(await outbox.claim("beta", 2, LEASE))

        assert await outbox.prune(remember=HOUR) == 2
        assert await outbox.prune(remember=HOUR) == 0
        assert await deliver(outbox, "beta") == [3]

    async def test_what_is_leased_or_released_stays(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        await deliver(outbox, "beta")
        await outbox.claim("alpha", 1, LEASE)
        released = await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(await outbox.claim("alpha", 2, LEASE))
        assert await outbox.prune(remember=HOUR) == 0
        await outbox.release(released, due=clock.now, counts_as_attempt=False)
        assert await outbox.prune(remember=HOUR) == 0

        clock.advance(LEASE)

        assert await deliver(outbox, "alpha") == [1, 2]
        assert await outbox.prune(remember=HOUR) == 4

    async def test_exceptions_stay_and_what_is_around_them_goes(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        claim = await outbox.claim("alpha", 4, LEASE)
        await outbox.settle(claim, back(claim, 2) + back(claim, 3, due=clock.now))
        await kill(outbox, "beta", 2)

        assert await outbox.prune(remember=HOUR) == 2
        assert await deliver(outbox, "alpha") == [3]
        assert await outbox.prune(remember=HOUR) == 1
        assert await outbox.replay("alpha") == 1
        assert await deliver(outbox, "alpha") == [2]
        assert await outbox.prune(remember=HOUR) == 0
        assert [letter.conversion.order_id for letter in await outbox.dead_letters()] == ["2"]
        await outbox.replay("beta")
        assert await deliver(outbox, "beta") == [2]
        assert await outbox.prune(remember=HOUR) == 1
        assert list(await outbox.append(sales(1, 2, 3, 4))) == [REPEAT] * 4

    async def test_a_retry_that_fails_again_stays(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        await deliver(outbox, "beta")
        for _ in range(2):
            claim = await outbox.claim("alpha", 1, LEASE)
            await outbox.settle(claim, back(claim, 1, due=clock.now))
            assert await outbox.prune(remember=HOUR) == 0

        assert await deliver(outbox, "alpha") == [1]
        assert await outbox.prune(remember=HOUR) == 1

    async def test_ids_are_forgotten_after_a_time(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)
        clock.advance(HOUR / 2)
        await outbox.append(sales(2, 3))
        await outbox.prune(remember=HOUR)
        assert list(await outbox.append(sales(1))) == [REPEAT]
        clock.advance(HOUR / 2)

        await outbox.prune(remember=HOUR)

        assert list(await outbox.append(sales(1, 2, 3))) == [NEW, REPEAT, REPEAT]
        assert await deliver(outbox, "alpha") == [2, 3, 1]

    async def test_what_waits_is_never_forgotten(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1, 2))
        await deliver(outbox, "beta")
        await kill(outbox, "alpha", 1)
        clock.advance(9 * HOUR)
        await outbox.prune(remember=0)

        assert list(await outbox.append(sales(1))) == [REPEAT]
        await outbox.replay("alpha")
        assert await deliver(outbox, "alpha") == [1]

    async def test_the_log_goes_on_when_everything_is_forgotten(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        for round_ in range(3):
            numbers = range(100 * round_, 100 * round_ + 5)
            assert list(await outbox.append(sales(*numbers))) == [NEW] * 5
            assert await deliver(outbox, "alpha", "beta") == [*numbers, *numbers]
            clock.advance(HOUR)
            assert await outbox.prune(remember=0) == 5

    async def test_a_long_life_at_the_limit(self, outbox: Outbox) -> None:
        for round_ in range(20):
            numbers = [*range(CAPACITY * round_, CAPACITY * (round_ + 1))]
            assert list(await outbox.append(sales(*numbers))) == [NEW] * CAPACITY
            assert await deliver(outbox, "alpha", "beta") == numbers * 2
        assert list(await outbox.append(sales(*numbers))) == [REPEAT] * CAPACITY
