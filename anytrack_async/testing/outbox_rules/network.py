"""Rules about outboxes on a server: lost answers, silence, and crashes of the server."""

# ruff: noqa: D102, S101

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
import pytest_asyncio

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import Appended, Claim, Outbox
from anytrack_async.testing.outbox_rules.base import (
    LEASE,
    Clock,
    deliver,
    orders,
    sales,
)
from anytrack_async.testing.outbox_rules.sharing import SharingRules
from anytrack_async.testing.tcp_proxy import TcpProxy

_Result = TypeVar("_Result")

TIMEOUT = 0.5
"""Seconds after which a call of the outbox of `make_through` has to fail without an answer."""

_AT_MOST = 20.0
"""Seconds that a call may take in the tests: much more than the time-out, much less than ever."""


class NetworkRules(SharingRules):
    """Tests with a proxy between an outbox and its server."""

    @property
    def server(self) -> tuple[str, int]:
        """The server's host and port."""
        raise NotImplementedError

    def make_through(self, port: int, clock: Clock, timeout: float) -> Outbox:
        """Return an outbox on the store of `make` that connects to *port* of 127.0.0.1.

        A call fails after *timeout* seconds without an answer.
        """
        raise NotImplementedError

    @pytest_asyncio.fixture
    async def proxy(self) -> AsyncIterator[TcpProxy]:
        """Return a proxy in front of the server."""
        async with TcpProxy(*self.server) as proxy:
            yield proxy

    @pytest_asyncio.fixture
    async def remote(self, outbox: Outbox, proxy: TcpProxy, clock: Clock) -> AsyncIterator[Outbox]:
        """Return an open outbox on the store of *outbox* that connects through *proxy*."""
        remote = self.make_through(proxy.port, clock, TIMEOUT)
        await remote.open(self.destinations)
        yield remote
        proxy.pass_on()
        await remote.aclose()

    @pytest.mark.parametrize("answers", [0, 1, 2])
    async def test_an_append_whose_answer_is_lost_can_be_repeated(
        self, outbox: Outbox, remote: Outbox, proxy: TcpProxy, answers: int
    ) -> None:
        for number in range(3):
            await remote.append(sales(100 + number))
            proxy.cut_after(answers)
            with anyio.fail_after(_AT_MOST), suppress(OutboxError):
                await remote.append(sales(number))
            proxy.pass_on()

            (again,) = await eventually(partial(remote.append, sales(number)))

            assert again in (Appended.NEW, Appended.REPEAT)
        assert sorted(await deliver(outbox, "alpha")) == [0, 1, 2, 100, 101, 102]

    async def test_a_settlement_whose_answer_is_lost_sends_at_most_twice(
        self, outbox: Outbox, remote: Outbox, proxy: TcpProxy, clock: Clock
    ) -> None:
        await outbox.append(sales(1, 2))
        claim = await remote.claim("alpha", 1, LEASE)
        proxy.cut_after(0)
        with anyio.fail_after(_AT_MOST), suppress(OutboxError):
            await remote.settle(claim)
        proxy.pass_on()
        with suppress(OutboxError):
            await remote.settle(claim)
        clock.advance(LEASE + 1)

        assert [number for number in await deliver(outbox, "alpha") if number != 1] == [2]
        assert (await outbox.depths())["alpha"].waiting == 0

    async def test_each_call_ends_in_time_when_there_is_no_answer(
        self, outbox: Outbox, remote: Outbox, proxy: TcpProxy
    ) -> None:
        await outbox.append(sales(1))
        claim = await remote.claim("alpha", 1, LEASE)
        proxy.swallow()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: remote.append(sales(2)),
            lambda: remote.claim("alpha", 1, LEASE),
            lambda: remote.renew(claim, LEASE),
            lambda: remote.settle(claim),
            remote.depths,
        ]
        for call in calls:
            with anyio.fail_after(_AT_MOST):
                with pytest.raises(OutboxError):
                    await call()
        proxy.pass_on()

        await eventually(lambda: remote.append(sales(2, 3)))
        await eventually(lambda: remote.settle(claim))
        assert set(await deliver(outbox, "alpha")) >= {2, 3}

    async def test_connections_that_were_cut_are_made_anew(
        self, outbox: Outbox, remote: Outbox, proxy: TcpProxy
    ) -> None:
        await remote.append(sales(1))
        proxy.cut()

        # A call on a connection that is gone may fail, and later ones have another.
        claim = await eventually(lambda: remote.claim("alpha", 1, LEASE))

        assert orders(claim) == [1]
        assert await remote.settle(claim)


async def eventually(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """Repeat *call* until it succeeds."""
    with anyio.fail_after(_AT_MOST):
        while True:
            with suppress(OutboxError):
                return await call()
            await anyio.sleep(0.02)
    raise AssertionError  # pragma: no cover - not reached


class CrashRules(SharingRules):
    """Tests that kill the server, and start it again."""

    async def crash(self) -> None:
        """Kill the server as a power cut does, and start it again."""
        raise NotImplementedError

    async def test_what_was_accepted_survives_a_crash(self, outbox: Outbox) -> None:
        for number in range(20):
            await outbox.append(sales(number))
        claim = await outbox.claim("alpha", 5, LEASE)
        assert await outbox.settle(claim)
        await self.crash()

        assert set(await deliver(outbox, "alpha")) >= {*range(5, 20)}
        assert await deliver(outbox, "beta") == [*range(20)]
        assert await outbox.append(sales(3, 20)) == [Appended.REPEAT, Appended.NEW]

    async def test_a_lease_from_before_a_crash_ends_no_other(
        self, outbox: Outbox, other: Outbox, clock: Clock
    ) -> None:
        await outbox.append(sales(*range(60)))
        late = await claim_often(outbox, limit=1, times=20)
        await self.crash()
        clock.advance(LEASE + 1)
        taken_over = await claim_often(other, limit=3, times=15)
        assert not {claim.lease_id for claim in late} & {claim.lease_id for claim in taken_over}

        assert await count_settled(outbox, late) == 0

        assert await count_settled(other, taken_over) == len(taken_over)
        late_orders = await deliver(other, "alpha")
        numbers = [number for claim in taken_over for number in orders(claim)] + late_orders
        assert sorted(numbers) == [*range(60)]

    async def test_a_crash_during_calls_loses_nothing_accepted(
        self, outbox: Outbox, tmp_path: Path
    ) -> None:
        accepted: set[int] = set()
        is_over = anyio.Event()

        async def append(first: int) -> None:
            number = first
            while not is_over.is_set() and number < first + 20:
                try:
                    await outbox.append(sales(number))
                except OutboxError:
                    await anyio.sleep(0.02)
                    continue  # unknown, or refused: again
                accepted.add(number)
                number += 1

        async with anyio.create_task_group() as tg:
            for task in range(4):
                tg.start_soon(append, 100 * task)
            await anyio.lowlevel.checkpoint()
            await self.crash()

        assert len(accepted) == 80
        assert sorted(await deliver(outbox, "alpha")) == sorted(accepted)


async def claim_often(outbox: Outbox, *, limit: int, times: int) -> list[Claim]:
    """Claim up to *limit* conversions, *times* times; return the claims that have some."""
    claims = [await outbox.claim("alpha", limit, LEASE) for _ in range(times)]
    return [claim for claim in claims if claim.entries]


async def count_settled(outbox: Outbox, claims: Sequence[Claim]) -> int:
    """Settle *claims*; return how many had not lost their leases."""
    return sum([await outbox.settle(claim) for claim in claims])
