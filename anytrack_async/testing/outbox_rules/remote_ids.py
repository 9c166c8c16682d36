"""Rules about the ids that destinations give to conversions, which are optional."""

# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest

from anytrack_async.outbox.base import Appended, Claim, FailedEntry, Outbox
from anytrack_async.outbox.capabilities import KeepsRemoteIds
from anytrack_async.testing.outbox_rules.base import (
    CAPACITY,
    HOUR,
    LEASE,
    Clock,
    Rules,
    dead_letter,
    deliver,
    failures,
    orders,
    reopen,
    sales,
)

FORMS: Sequence[Callable[[int], str]] = (
    lambda order: str(UUID(int=order << 64)),
    lambda order: str(UUID(int=order)).upper(),
    lambda order: f"c-{order}" if order % 2 else str(UUID(int=order)),
    lambda order: f"{order}",
    lambda order: f"{order}, «é 漢»,,",
    lambda order: f"{order:0255}",
)
"""Ids as services make them, and the longest ones."""


async def _reported(outbox: Outbox, destination: str, *order_numbers: int) -> list[str | None]:
    """Return the ids that *destination* gave to some orders, by their reports."""
    reports = await outbox.reports([f"sale:{order}" for order in order_numbers])
    return [reports[f"sale:{order}"].outcomes[destination].remote_id for order in order_numbers]


class RemoteIdRules(Rules):
    """Tests of `KeepsRemoteIds`; skipped for an outbox without that part."""

    @pytest.fixture
    def keeper(self, outbox: Outbox) -> KeepsRemoteIds:
        """The open outbox."""
        if not isinstance(outbox, KeepsRemoteIds):
            pytest.skip("this outbox keeps no ids of destinations")
        return outbox

    @staticmethod
    async def _settle(
        keeper: KeepsRemoteIds,
        claim: Claim,
        failed: Sequence[FailedEntry] = (),
        *,
        without: Sequence[int] = (),
        prefix: str = "remote",
    ) -> bool:
        """Settle *claim*; each order that is not *without* an id, or failed, has one."""
        no_id = {entry.seq for entry in failed}
        ids = [
            None if seq in no_id or order in without else f"{prefix}-{order}"
            for seq, order in zip(claim.entries.seqs, orders(claim), strict=True)
        ]
        return await keeper.settle_with_ids(claim, failed, ids)

    @pytest.mark.parametrize("form", FORMS)
    async def test_a_report_has_the_id_that_the_destination_gave(
        self, outbox: Outbox, keeper: KeepsRemoteIds, form: Callable[[int], str]
    ) -> None:
        numbers = range(1, CAPACITY + 1)
        await outbox.append(sales(*numbers))
        claim = await outbox.claim("alpha", CAPACITY, LEASE)
        assert await keeper.settle_with_ids(claim, (), list(map(form, numbers)))

        assert await _reported(outbox, "alpha", *numbers) == list(map(form, numbers))
        assert await _reported(outbox, "beta", *numbers) == [None] * CAPACITY
        await deliver(outbox, "beta")
        assert await _reported(outbox, "beta", 1) == [None]

    async def test_it_stays_as_long_as_the_event_id_and_no_longer(
        self, outbox: Outbox, keeper: KeepsRemoteIds, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3))
        await deliver(outbox, "beta")
        await self._settle(keeper, await outbox.claim("alpha", 3, LEASE))
        assert await outbox.prune(remember=HOUR) == 3
        await reopen(outbox, ["alpha", "beta"])
        assert await _reported(outbox, "alpha", 1, 3) == ["remote-1", "remote-3"]

        clock.advance(HOUR)
        await outbox.append(sales(4))  # the newest id may stay
        await outbox.prune(remember=HOUR)
        assert await outbox.reports(["sale:1", "sale:2", "sale:3"]) == {}
        assert list(await outbox.append(sales(1))) == [Appended.NEW]
        assert await _reported(outbox, "alpha", 1, 4) == [None, None]
        await deliver(outbox, "alpha")
        assert await _reported(outbox, "alpha", 1, 4) == [None, None]

    async def test_of_a_batch_those_that_failed_get_theirs_later(
        self, outbox: Outbox, keeper: KeepsRemoteIds, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(1, 9)))
        claim = await outbox.claim("alpha", 8, LEASE)
        failed = failures(claim, 2, 7) + failures(claim, 4, 5, due=clock.now)
        await self._settle(keeper, claim, failed, without=[8])
        expected = ["remote-1", None, "remote-3", None, None, "remote-6", None, None]
        assert await _reported(outbox, "alpha", *range(1, 9)) == expected

        await outbox.append(sales(9))
        await self._settle(keeper, await outbox.claim("alpha", 9, LEASE), prefix="retried")
        assert await outbox.replay("alpha") == 2
        await self._settle(keeper, await outbox.claim("alpha", 9, LEASE), prefix="replayed")

        expected[1], expected[6] = "replayed-2", "replayed-7"
        expected[3:5] = ["retried-4", "retried-5"]
        assert await _reported(outbox, "alpha", *range(1, 10)) == [*expected, "retried-9"]

    async def test_conversions_for_others_are_in_between(
        self, outbox: Outbox, keeper: KeepsRemoteIds
    ) -> None:
        for order in range(1, 10):
            await outbox.append(sales(order), ["alpha"] if order % 3 else ["beta"])
        for name in ("beta", "alpha"):
            claim = await outbox.claim(name, CAPACITY, LEASE)
            await self._settle(keeper, claim, prefix=name)

        assert await _reported(outbox, "alpha", 1, 2, 4, 8) == [
            f"alpha-{order}" for order in (1, 2, 4, 8)
        ]
        assert await _reported(outbox, "beta", 3, 6, 9) == ["beta-3", "beta-6", "beta-9"]

    async def test_a_late_one_stays_as_long_as_its_event_id(
        self, outbox: Outbox, keeper: KeepsRemoteIds, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2, 3, 4))
        await self._settle(keeper, await outbox.claim("alpha", 4, LEASE))
        await dead_letter(outbox, "beta", 2)
        assert await outbox.prune(remember=HOUR) == 3
        clock.advance(HOUR)
        await outbox.prune(remember=HOUR)
        assert await _reported(outbox, "alpha", 2) == ["remote-2"]

        await outbox.discard("beta", ["sale:2"])
        await outbox.prune(remember=HOUR)
        assert await _reported(outbox, "alpha", 2) == ["remote-2"]
        clock.advance(HOUR)
        await outbox.prune(remember=HOUR)
        assert await outbox.reports(["sale:2"]) == {}

    async def test_a_lost_lease_keeps_none(
        self, outbox: Outbox, keeper: KeepsRemoteIds, clock: Clock
    ) -> None:
        await outbox.append(sales(1))
        late = await outbox.claim("alpha", 1, LEASE)
        clock.advance(LEASE)
        claim = await outbox.claim("alpha", 1, LEASE)

        assert not await self._settle(keeper, late, prefix="late")
        assert await self._settle(keeper, claim)
        assert await _reported(outbox, "alpha", 1) == ["remote-1"]

    async def test_those_of_a_forgotten_destination_are_gone(
        self, outbox: Outbox, keeper: KeepsRemoteIds
    ) -> None:
        await outbox.append(sales(1, 2))
        await self._settle(keeper, await outbox.claim("alpha", 2, LEASE))
        await outbox.forget("alpha")
        await reopen(outbox, ["alpha", "beta"], from_start=["alpha"])
        await deliver(outbox, "alpha")

        assert await _reported(outbox, "alpha", 1, 2) == [None, None]
