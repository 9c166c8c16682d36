"""Rules about pruning payloads and ids, and about checkpoints, which stay."""

# ruff: noqa: D102, S101

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.outbox.base import Appended, Outbox
from anytrack_async.outbox.capabilities import KeepsCheckpoints
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    HOUR,
    LEASE,
    Clock,
    Rules,
    dead_letter,
    deliver,
    failures,
    reopen,
    sales,
)

NEW, REPEAT = Appended.NEW, Appended.REPEAT


class RetentionRules(Rules):
    """Tests of `prune`."""

    async def test_payloads_that_every_destination_has_are_dropped(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2, 3))
        await deliver(outbox, "alpha")
        assert await outbox.prune(remember=HOUR) == 0
        await outbox.settle(await outbox.claim("beta", 2, LEASE))

        assert await outbox.prune(remember=HOUR) == 2
        assert await outbox.prune(remember=HOUR) == 0
        assert await deliver(outbox, "beta") == [3]

    async def test_leased_and_released_conversions_are_kept(
        self, outbox: Outbox, clock: Clock
    ) -> None:
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

    async def test_exceptions_are_kept_while_everything_around_them_is_dropped(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        claim = await outbox.claim("alpha", 4, LEASE)
        await outbox.settle(claim, failures(claim, 2) + failures(claim, 3, due=clock.now))
        await dead_letter(outbox, "beta", 2)

        assert await outbox.prune(remember=HOUR) == 2
        assert await deliver(outbox, "alpha") == [3]
        assert await outbox.prune(remember=HOUR) == 1
        assert list(await outbox.append(sales(1, 2, 3, 4))) == [REPEAT] * 4

    async def test_a_dead_letter_is_kept_until_every_destination_has_it(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        await dead_letter(outbox, "alpha", 2)
        await dead_letter(outbox, "beta", 2)

        assert await outbox.prune(remember=HOUR) == 2
        assert await outbox.replay("alpha") == 1
        assert await deliver(outbox, "alpha") == [2]
        assert await outbox.prune(remember=HOUR) == 0
        assert [letter.conversion.order_id for letter in await outbox.dead_letters()] == ["2"]
        await outbox.replay("beta")
        assert await deliver(outbox, "beta") == [2]
        assert await outbox.prune(remember=HOUR) == 1
        assert list(await outbox.append(sales(1, 2, 3))) == [REPEAT] * 3

    async def test_a_retry_that_fails_again_is_kept(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        await deliver(outbox, "beta")
        for _ in range(2):
            claim = await outbox.claim("alpha", 1, LEASE)
            await outbox.settle(claim, failures(claim, 1, due=clock.now))
            assert await outbox.prune(remember=HOUR) == 0

        assert await deliver(outbox, "alpha") == [1]
        assert await outbox.prune(remember=HOUR) == 1

    async def test_ids_are_forgotten_after_the_given_time(
        self, outbox: Outbox, clock: Clock
    ) -> None:
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

    async def test_ids_of_undelivered_conversions_are_never_forgotten(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        await deliver(outbox, "beta")
        await dead_letter(outbox, "alpha", 1)
        clock.advance(9 * HOUR)
        await outbox.prune(remember=0)

        assert list(await outbox.append(sales(1))) == [REPEAT]
        await outbox.replay("alpha")
        assert await deliver(outbox, "alpha") == [1]

    async def test_the_log_continues_after_everything_is_forgotten(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        for start in range(0, 300, 100):
            numbers = range(start, start + 5)
            assert list(await outbox.append(sales(*numbers))) == [NEW] * 5
            assert await deliver(outbox, "alpha", "beta") == [*numbers, *numbers]
            clock.advance(HOUR)
            assert await outbox.prune(remember=0) == 5

    async def test_an_outbox_can_be_filled_again_and_again(self, outbox: Outbox) -> None:
        for start in range(0, 20 * CAPACITY, CAPACITY):
            numbers = [*range(start, start + CAPACITY)]
            assert list(await outbox.append(sales(*numbers))) == [NEW] * CAPACITY
            assert await deliver(outbox, "alpha", "beta") == numbers * 2
        assert list(await outbox.append(sales(*numbers))) == [REPEAT] * CAPACITY


class CheckpointRules(Rules):
    """Tests of `KeepsCheckpoints`; skipped for an outbox without that part."""

    @pytest.fixture
    def checkpoints(self, outbox: Outbox) -> KeepsCheckpoints:
        """The open outbox."""
        if not isinstance(outbox, KeepsCheckpoints):
            pytest.skip("this outbox keeps no checkpoints")
        return outbox

    async def test_the_last_value_of_a_checkpoint_is_kept(
        self, outbox: Outbox, checkpoints: KeepsCheckpoints
    ) -> None:
        assert await checkpoints.checkpoint("import") is None
        for value in (b"page 1", b"", b"page 3\0\xff"):
            await checkpoints.save_checkpoint("import", value)
            assert await checkpoints.checkpoint("import") == value

        await outbox.prune(remember=0)
        await reopen(outbox, ["gamma"])
        assert await checkpoints.checkpoint("import") == b"page 3\0\xff"
        assert await checkpoints.checkpoint("Import") is None

    async def test_a_checkpoint_can_be_deleted(self, checkpoints: KeepsCheckpoints) -> None:
        for name in ("first", "second"):
            await checkpoints.save_checkpoint(name, name.encode())
        for _ in range(2):
            await checkpoints.save_checkpoint("first", None)

        assert await checkpoints.checkpoint("first") is None
        assert await checkpoints.checkpoint("second") == b"second"

    @pytest.mark.parametrize(("name", "value"), [(7, b""), ("\ud800", b""), ("import", "page 1")])
    async def test_a_checkpoint_has_a_text_as_name_and_bytes_as_value(
        self, checkpoints: KeepsCheckpoints, name: Any, value: Any
    ) -> None:
        with pytest.raises(InvalidArgumentError):
            await checkpoints.save_checkpoint(name, value)
