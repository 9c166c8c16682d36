"""Rules about reports, depths and the backlog."""

# ruff: noqa: D102, S101

from __future__ import annotations

import pytest

from anytrack_async.errors import OutboxError
from anytrack_async.models.outcome import Outcome, Report, Status
from anytrack_async.outbox.base import Depth, Outbox
from anytrack_async.testing.outbox_rules.base import (
    HOUR,
    LEASE,
    Clock,
    Rules,
    back,
    deliver,
    kill,
    sales,
)


async def _at(outbox: Outbox, number: int) -> dict[str, tuple[Status, int]]:
    """Return destination → status and attempts of an order."""
    report = (await outbox.reports([f"sale:{number}"]))[f"sale:{number}"]
    return {name: (one.status, one.attempts) for name, one in report.outcomes.items()}


class Telling(Rules):
    """What `reports`, `depths` and `undelivered` promise."""

    async def test_a_report_follows_a_conversion(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        assert (await _at(outbox, 1))["alpha"] == (Status.WAITING, 0)
        claim = await outbox.claim("alpha", 1, LEASE)
        assert (await _at(outbox, 1))["alpha"] == (Status.WAITING, 0)
        await outbox.release(claim, due=clock.now, counts_as_attempt=True)
        assert (await _at(outbox, 1))["alpha"] == (Status.WAITING, 1)
        claim = await outbox.claim("alpha", 1, LEASE)
        await outbox.settle(claim, back(claim, 1, due=clock.now))
        assert (await _at(outbox, 1))["alpha"] == (Status.WAITING, 2)
        await kill(outbox, "alpha", 1)
        assert (await _at(outbox, 1))["alpha"] == (Status.DEAD, 3)
        await outbox.replay("alpha")
        assert (await _at(outbox, 1))["alpha"] == (Status.WAITING, 0)
        await deliver(outbox, "alpha")
        assert (await _at(outbox, 1))["alpha"][0] is Status.DELIVERED
        assert (await _at(outbox, 1))["beta"] == (Status.WAITING, 0)

    async def test_a_report_says_why(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))
        await kill(outbox, "alpha", 1)
        await deliver(outbox, "beta")

        assert await outbox.reports(["sale:1"]) == {
            "sale:1": Report(
                event_id="sale:1",
                outcomes={
                    "alpha": Outcome(
                        status=Status.DEAD, destination="alpha", error="no thanks", code="E1"
                    ),
                    "beta": Outcome(status=Status.DELIVERED, destination="beta"),
                },
            )
        }

    async def test_unknown_ids_are_left_out(self, outbox: Outbox) -> None:
        await outbox.append(sales(1))

        assert set(await outbox.reports(["sale:1", "sale:2"])) == {"sale:1"}

    async def test_a_report_names_only_whom_it_is_for(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1), ["alpha"])
        await outbox.append(sales(2), ["beta"])
        assert set(await _at(outbox, 1)) == {"alpha"}
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)

        assert set(await _at(outbox, 1)) == {"alpha"}
        clock.advance(1)
        await outbox.open(["late", "later"], from_start=["later"])
        assert set(await _at(outbox, 2)) == {"beta"}

    async def test_who_joined_at_the_end_has_nothing_to_do_with_what_was_before(
        self, outbox: Outbox
    ) -> None:
        await outbox.append(sales(1))
        await outbox.open(["late", "later"], from_start=["later"])

        assert set(await _at(outbox, 1)) == {"alpha", "beta", "later"}

    async def test_what_was_pruned_is_delivered_everywhere(self, outbox: Outbox) -> None:
        await outbox.append(sales(1, 2))
        await deliver(outbox, "alpha", "beta")
        await outbox.prune(remember=HOUR)

        report = (await outbox.reports(["sale:1"]))["sale:1"]

        assert set(report.outcomes) == {"alpha", "beta"}
        assert report.delivered

    async def test_a_lost_lease_is_waiting(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(1))
        await outbox.claim("alpha", 1, LEASE)
        clock.advance(LEASE)

        assert (await _at(outbox, 1))["alpha"][0] is Status.WAITING

    async def test_depths_add_up(self, outbox: Outbox, clock: Clock) -> None:
        await outbox.append(sales(*range(10)))
        first = await outbox.claim("alpha", 4, LEASE)
        await outbox.claim("alpha", 1, LEASE)
        assert (await outbox.depths())["alpha"] == Depth(waiting=10, in_flight=5)

        await outbox.settle(first, back(first, 0) + back(first, 1, 2, due=clock.now))
        assert (await outbox.depths())["alpha"] == Depth(waiting=8, in_flight=1, retrying=2, dead=1)
        retries = await outbox.claim("alpha", 1, LEASE)
        assert (await outbox.depths())["alpha"] == Depth(waiting=8, in_flight=2, retrying=1, dead=1)
        await outbox.release(retries, due=clock.now, counts_as_attempt=True)
        clock.advance(LEASE)
        assert (await outbox.depths())["alpha"] == Depth(waiting=8, in_flight=0, retrying=3, dead=1)
        assert (await outbox.depths())["beta"] == Depth(waiting=10)
        await deliver(outbox, "alpha")
        assert (await outbox.depths())["alpha"] == Depth(dead=1)

    async def test_what_was_released_untried_is_not_retrying(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        await outbox.release(
            await outbox.claim("alpha", 2, LEASE), due=clock.now, counts_as_attempt=False
        )
        await outbox.release(
            await outbox.claim("beta", 2, LEASE), due=clock.now, counts_as_attempt=True
        )

        depths = await outbox.depths()

        assert depths == {"alpha": Depth(waiting=2), "beta": Depth(waiting=2, retrying=2)}

    async def test_the_undelivered_of_an_unknown_destination_are_refused(
        self, outbox: Outbox
    ) -> None:
        with pytest.raises(OutboxError, match="gamma"):
            await outbox.undelivered("gamma")

    async def test_the_undelivered_are_named_in_log_order(
        self, outbox: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(4)))
        await outbox.append(sales(4), ["beta"])
        await outbox.append(sales(5, 6))
        first = await outbox.claim("alpha", 3, LEASE)
        await outbox.settle(first, back(first, 0) + back(first, 1, due=0.0))
        await outbox.claim("alpha", 2, LEASE)

        assert list(await outbox.undelivered("alpha")) == ["sale:1", "sale:3", "sale:5", "sale:6"]
        assert list(await outbox.undelivered("alpha", limit=2)) == ["sale:1", "sale:3"]
        await outbox.claim("alpha", 9, LEASE)
        assert len(await outbox.undelivered("alpha")) == 4
        clock.advance(LEASE)
        await deliver(outbox, "alpha")
        assert list(await outbox.undelivered("alpha")) == []
