"""Rules about conversions that are appended in transactions of the caller's."""

# ruff: noqa: D102, S101

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import anyio

from anytrack_async.outbox.base import Appended, Outbox
from anytrack_async.outbox.capabilities import JoinableOutbox
from anytrack_async.testing.outbox_rules.base import LEASE, deliver, orders, sales
from anytrack_async.testing.outbox_rules.sharing import SharingRules

_NOT_WAITING = 10.0
"""Seconds in which calls that need not wait for a transaction are done, on a busy machine."""


class CallersTransaction(Protocol):
    """A transaction in the database of the outbox, begun already.

    Attributes:
        connection: the object that a caller passes as ``within``.
    """

    connection: Any

    async def execute(self, statement: str) -> object:
        """Execute a statement of SQL in the transaction."""
        ...

    async def commit(self) -> None:
        """Commit the transaction."""
        ...

    async def rollback(self) -> None:
        """Roll the transaction back."""
        ...


class JoiningRules(SharingRules):
    """Tests of `JoinableOutbox`: transactions that commit late, or never."""

    def begin(self) -> AbstractAsyncContextManager[CallersTransaction]:
        """Begin a transaction on a connection of its own, which is closed after the block."""
        raise NotImplementedError

    async def test_a_late_commit_delays_nobody_and_arrives_everywhere(self, outbox: Outbox) -> None:
        async with self.begin() as late:
            await append_within(outbox, late, 1000)
            for number in range(40):
                await outbox.append(sales(number))
                assert await deliver(outbox, "alpha") == [number]
            await late.commit()

        assert await deliver(outbox, "alpha") == [1000]
        assert sorted(await deliver(outbox, "beta")) == [*range(40), 1000]

    async def test_transactions_that_commit_out_of_order_lose_nothing(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        async with self.begin() as first, self.begin() as second, self.begin() as third:
            await append_within(outbox, first, 1)
            await append_within(other, second, 2)
            await append_within(outbox, third, 3)
            await third.commit()
            assert await deliver(other, "alpha") == [3]
            await first.commit()
            assert await deliver(outbox, "alpha") == [1]
            await second.commit()

        assert await deliver(other, "alpha") == [2]
        assert sorted(await deliver(outbox, "beta")) == [1, 2, 3]

    async def test_what_is_rolled_back_never_arrives_and_stops_nobody(self, outbox: Outbox) -> None:
        async with self.begin() as transaction:
            await append_within(outbox, transaction, 1)
            await outbox.append(sales(2))
            await transaction.rollback()
        await outbox.append(sales(3))

        assert await deliver(outbox, "alpha") == [2, 3]
        assert not await outbox.reports(["sale:1"])
        assert await outbox.append(sales(1)) == [Appended.NEW]
        assert await deliver(outbox, "beta") == [2, 3, 1]

    async def test_a_rollback_to_a_savepoint_takes_only_what_came_after_it(
        self, outbox: Outbox
    ) -> None:
        async with self.begin() as transaction:
            await append_within(outbox, transaction, 1)
            await transaction.execute("SAVEPOINT before_two")
            await append_within(outbox, transaction, 2)
            await transaction.execute("ROLLBACK TO SAVEPOINT before_two")
            await append_within(outbox, transaction, 3)
            await transaction.commit()

        assert sorted(await deliver(outbox, "alpha")) == [1, 3]

    async def test_nothing_is_seen_before_the_commit(self, outbox: Outbox, other: Outbox) -> None:
        async with self.begin() as transaction:
            await append_within(outbox, transaction, 1)
            assert not (await other.claim("alpha", 10, LEASE)).entries
            assert not await other.reports(["sale:1"])
            await transaction.commit()

        assert orders(await other.claim("alpha", 10, LEASE)) == [1]

    async def test_a_repeat_of_what_is_not_committed_waits_for_the_first(
        self, outbox: Outbox, other: Outbox
    ) -> None:
        for number, commits in ((1, True), (2, False)):
            answers: list[object] = []
            async with self.begin() as transaction, anyio.create_task_group() as tg:
                await append_within(outbox, transaction, number)
                tg.start_soon(append_into, outbox, number, answers)
                tg.start_soon(append_into, outbox, 200 + number, [])  # perhaps in one statement
                with anyio.fail_after(_NOT_WAITING):
                    await outbox.append(sales(100 + number))
                    await other.append(sales(300 + number))
                assert not answers
                await (transaction.commit() if commits else transaction.rollback())
            assert answers == [Appended.REPEAT if commits else Appended.NEW]

        other_orders = [101, 102, 201, 202, 301, 302]
        assert sorted(await deliver(outbox, "alpha")) == [1, 2, *other_orders]

    async def test_ids_that_cross_in_two_transactions_cost_one_of_them(
        self, outbox: Outbox
    ) -> None:
        failures: list[Exception] = []

        async def finish(transaction: CallersTransaction, number: int) -> None:
            try:
                await append_within(outbox, transaction, number)
            except Exception as exc:
                failures.append(exc)
                await transaction.rollback()
            else:
                await transaction.commit()

        with anyio.fail_after(30):
            async with self.begin() as first, self.begin() as second:
                await append_within(outbox, first, 1)
                await append_within(outbox, second, 2)
                async with anyio.create_task_group() as tg:
                    tg.start_soon(finish, first, 2)
                    tg.start_soon(finish, second, 1)

        assert len(failures) == 1
        assert sorted(await deliver(outbox, "alpha")) == [1, 2]


async def append_within(outbox: Outbox, transaction: CallersTransaction, *numbers: int) -> None:
    """Append the sales of some orders in *transaction*."""
    assert isinstance(outbox, JoinableOutbox)
    await outbox.append_within(transaction.connection, sales(*numbers))


async def append_into(outbox: Outbox, number: int, answers: list[object]) -> None:
    """Append a sale, and add the answer to *answers*."""
    answers += await outbox.append(sales(number))
