"""Rules about registering and forgetting destinations, and about opening and closing."""

# ruff: noqa: D102, S101

from __future__ import annotations

from pathlib import Path

import pytest

from anytrack_async.errors import OutboxError, QueueFullError
from anytrack_async.outbox.base import Appended, Outbox
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
    reopen,
    sale,
    sales,
)


class DestinationRules(Rules):
    """Tests of `open`, `destinations`, `forget` and `aclose`."""

    # Registering

    async def test_open_adds_to_the_registered_destinations(self, outbox: Outbox) -> None:
        await reopen(outbox, ["alpha", "gamma"])

        assert set(await outbox.destinations()) == {"alpha", "beta", "gamma"}

    async def test_a_new_destination_starts_at_the_end_of_the_log(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        await reopen(outbox, ["gamma"])
        await outbox.append(sales(2))

        assert await deliver(outbox, "gamma") == [2]

    async def test_a_new_destination_can_start_at_the_beginning(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await outbox.append(sales(3), ["alpha"])
        await deliver(outbox, "alpha")
        await reopen(outbox, ["gamma"], from_start=["gamma"])

        assert await deliver(outbox, "gamma") == [1, 2]

    async def test_pruned_conversions_are_before_the_beginning(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        await outbox.append(sales(4), ["alpha"])
        await dead_letter(outbox, "alpha", 2, 4)
        await deliver(outbox, "beta")
        await outbox.prune(remember=HOUR)
        await outbox.append(sales(5))
        clock.advance(1)

        await reopen(outbox, ["gamma"], from_start=["gamma"])

        assert (await outbox.depths())["gamma"].waiting == 2
        claim = await outbox.claim("gamma", 9, LEASE)
        assert (orders(claim), attempts(claim)) == ([2, 5], [0, 0])
        assert await outbox.settle(claim)
        reports = await outbox.reports(["sale:1", "sale:2"])
        assert set(reports["sale:1"].outcomes) == {"alpha", "beta"}
        assert set(reports["sale:2"].outcomes) == {"alpha", "beta", "gamma"}

    async def test_a_registered_destination_continues_at_its_cursor(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await outbox.settle(await outbox.claim("alpha", 1, LEASE))
        await reopen(outbox, ["alpha"], from_start=["alpha"])

        assert await deliver(outbox, "alpha") == [2]

    # Opening and closing

    async def test_closing_and_opening_again_loses_nothing(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        claim = await outbox.claim("alpha", 3, LEASE)
        await outbox.settle(claim, failures(claim, 1) + failures(claim, 2, due=clock.now))
        leased = await outbox.claim("beta", 1, LEASE)

        await reopen(outbox, self.destinations)

        assert orders(await outbox.claim("alpha", 9, LEASE)) == [2, 4]
        assert orders(await outbox.claim("beta", 9, LEASE)) == [2, 3, 4]
        assert await outbox.settle(leased)
        assert len(await outbox.dead_letters()) == 1

    async def test_an_open_outbox_cannot_be_opened(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        for _ in range(2):
            with pytest.raises(OutboxError, match="open"):
                await outbox.open(["gamma"])

        assert list(await outbox.destinations()) == ["alpha", "beta"]
        assert await deliver(outbox, "alpha") == [1]

    async def test_every_method_of_a_closed_outbox_raises(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.aclose()
        await outbox.aclose()

        for call in (
            outbox.append(sales(2)),
            outbox.claim("alpha", 1, LEASE),
            outbox.renew(claim, LEASE),
            outbox.settle(claim),
            outbox.release(claim, due=0, counts_as_attempt=False),
            outbox.reports(["sale:1"]),
            outbox.undelivered("alpha"),
            outbox.depths(),
            outbox.dead_letters(),
            outbox.replay("alpha"),
            outbox.prune(remember=0),
            outbox.destinations(),
            outbox.forget("alpha"),
        ):
            with pytest.raises(OutboxError, match="not open"):
                await call

    async def test_an_outbox_must_be_opened(self, tmp_path: Path, clock: Clock) -> None:
        with pytest.raises(OutboxError, match="not open"):
            await self.make(tmp_path, clock, CAPACITY).append(sales(1))

    # Forgetting

    async def test_a_forgotten_destination_is_removed_everywhere(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.forget("alpha")

        assert list(await outbox.destinations()) == ["beta"]
        assert not await outbox.settle(claim)
        assert set((await outbox.reports(["sale:1"]))["sale:1"].outcomes) == {"beta"}
        with pytest.raises(OutboxError, match="alpha"):
            await outbox.claim("alpha", 1, LEASE)
        await outbox.forget("alpha")

    async def test_a_forgotten_destination_can_be_registered_as_new(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await dead_letter(outbox, "alpha", 1)
        await outbox.forget("alpha")
        await reopen(outbox, ["alpha"])
        await outbox.append(sales(3))

        assert await deliver(outbox, "alpha") == [3]
        assert not await outbox.dead_letters("alpha")

    async def test_forgetting_frees_space_and_payloads(self, outbox: Outbox) -> None:
        await outbox.append(sales(*range(CAPACITY)))
        await dead_letter(outbox, "alpha", 7)
        await outbox.forget("beta")

        assert list(await outbox.append([sale(1001)])) == [Appended.NEW]
        assert await outbox.prune(remember=HOUR) == CAPACITY - 1
        await outbox.forget("alpha")
        await reopen(outbox, ["gamma"])
        assert await outbox.prune(remember=HOUR) == 2

    async def test_dead_letters_of_a_forgotten_destination_take_no_space(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(sales(1))
        await deliver(outbox, "beta")
        await dead_letter(outbox, "alpha", 1)
        await outbox.prune(remember=HOUR)
        await outbox.forget("alpha")
        await outbox.forget("beta")

        assert (
            list(await outbox.append(sales(*range(2, CAPACITY + 2)))) == [Appended.NEW] * CAPACITY
        )

    async def test_without_destinations_conversions_are_kept_up_to_the_capacity(
        self, outbox: Outbox
    ) -> None:
        for name in self.destinations:
            await outbox.forget(name)
        await outbox.append(sales(*range(CAPACITY)))

        assert await outbox.prune(remember=HOUR) == 0
        with pytest.raises(QueueFullError, match="no destination"):
            await outbox.append(sales(1001))
        await reopen(outbox, ["gamma"], from_start=["gamma"])
        assert await deliver(outbox, "gamma") == [*range(CAPACITY)]
