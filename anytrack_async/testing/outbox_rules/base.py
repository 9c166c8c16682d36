"""Fixtures and helpers that the rules of the outbox contract share."""

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
_TIMESTAMP = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """A clock that stands still: unix seconds in `now`."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.now += seconds


def sale(order: int, **fields: Any) -> Conversion:
    """Return the sale of *order*, the same each time; its event id is ``sale:<order>``."""
    defaults: dict[str, Any] = {
        "revenue": order,
        "timestamp": _TIMESTAMP,
        "order_id": f"{order}",
    }
    return Conversion.sale(**(defaults | fields))


def sales(*order_numbers: int) -> list[Conversion]:
    """Return the sales of several orders."""
    return [sale(order) for order in order_numbers]


def orders(claim: Claim) -> list[int]:
    """Return the order numbers in *claim*."""
    return [int(entry.conversion.order_id or "") for entry in claim.entries]


def attempts(claim: Claim) -> list[int]:
    """Return the number of failed attempts of each conversion in *claim*."""
    return [entry.attempts for entry in claim.entries]


def failures(claim: Claim, *order_numbers: int, due: float | None = None) -> list[FailedEntry]:
    """Return failures of some orders of *claim*: retries at *due*, dead letters without it."""
    return [
        FailedEntry(
            seq=entry.seq, attempts=entry.attempts + 1, error="no thanks", code="E1", due=due
        )
        for entry in claim.entries
        if int(entry.conversion.order_id or "") in order_numbers
    ]


async def dead_letter(outbox: Outbox, destination: str, *order_numbers: int) -> None:
    """Settle the whole backlog of *destination*: some orders become dead letters."""
    claim = await outbox.claim(destination, CAPACITY, LEASE)
    assert await outbox.settle(claim, failures(claim, *order_numbers))


async def deliver(outbox: Outbox, *destinations: str) -> list[int]:
    """Deliver all that *destinations* can claim now; return the order numbers."""
    delivered: list[int] = []
    for destination in destinations:
        while (claim := await outbox.claim(destination, CAPACITY, LEASE)).entries:
            delivered += orders(claim)
            assert await outbox.settle(claim)
    return delivered


async def reopen(
    outbox: Outbox, destinations: Sequence[str], *, from_start: Sequence[str] = ()
) -> None:
    """Close *outbox*, and open it for *destinations*, which are perhaps new."""
    await outbox.aclose()
    await outbox.open(destinations, from_start=from_start)


class Rules:
    """Fixtures of the outbox contract."""

    pytestmark: ClassVar = pytest.mark.asyncio
    destinations: ClassVar[Sequence[str]] = ("alpha", "beta")

    def make(self, folder: Path, clock: Clock, capacity: int) -> Outbox:
        """Return an outbox on an empty store, not open yet."""
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
