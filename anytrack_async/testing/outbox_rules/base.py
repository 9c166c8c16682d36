"""What the rules of the outbox contract share."""

# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Claim, FailedEntry, Outbox

CAPACITY = 100
LEASE = 60.0
HOUR = 3600.0
_MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """A clock that stands still: unix seconds in `now`."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.now += seconds


def sale(number: int, **more: Any) -> Conversion:
    """Return the sale of order *number*, always the same."""
    given: dict[str, Any] = {
        "revenue": number,
        "timestamp": _MOMENT,
        "order_id": f"{number}",
    } | more
    return Conversion.sale(**given)


def sales(*numbers: int) -> list[Conversion]:
    """Return the sales of several orders."""
    return [sale(number) for number in numbers]


def orders(claim: Claim) -> list[int]:
    """Return the order numbers in *claim*."""
    return [int(entry.conversion.order_id or "") for entry in claim.entries]


def tried(claim: Claim) -> list[int]:
    """Return how often each conversion in *claim* was tried."""
    return [entry.attempts for entry in claim.entries]


def back(claim: Claim, *numbers: int, due: float | None = None) -> list[FailedEntry]:
    """Return failed for the orders *numbers* of *claim*, dead without *due*."""
    return [
        FailedEntry(
            seq=entry.seq, attempts=entry.attempts + 1, error="no thanks", code="E1", due=due
        )
        for entry in claim.entries
        if int(entry.conversion.order_id or "") in numbers
    ]


async def kill(outbox: Outbox, destination: str, *numbers: int) -> None:
    """Claim all of *destination*'s backlog; the orders *numbers* die, the others are delivered."""
    claim = await outbox.claim(destination, CAPACITY, LEASE)
    assert await outbox.settle(claim, back(claim, *numbers))


async def deliver(outbox: Outbox, *destinations: str) -> list[int]:
    """Deliver all that *destinations* can claim now; return the order numbers."""
    delivered: list[int] = []
    for destination in destinations:
        while (claim := await outbox.claim(destination, CAPACITY, LEASE)).entries:
            delivered += orders(claim)
            assert await outbox.settle(claim)
    return delivered


class Rules:
    """Fixtures of the outbox contract."""

    pytestmark: ClassVar = pytest.mark.asyncio
    destinations: ClassVar[Sequence[str]] = ("alpha", "beta")

    def make(self, folder: Path, clock: Clock, capacity: int) -> Outbox:
        """Return an outbox on a fresh store, not opened yet."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        """Return the clock of the outbox."""
        return Clock()

    @pytest_asyncio.fixture
    async def outbox(self, tmp_path: Path, clock: Clock) -> AsyncIterator[Outbox]:
        """Return an open outbox for "alpha" and "beta" with a `CAPACITY` of 100."""
        outbox = self.make(tmp_path, clock, CAPACITY)
        await outbox.open(self.destinations)
        yield outbox
        await outbox.aclose()
