"""The outbox works through a pooler that lends connections for the length of a transaction."""

import asyncio

import pytest

from anytrack_async.outbox.base import Appended
from anytrack_async.outbox.postgres.outbox import PostgresOutbox
from anytrack_async.testing.outbox_rules.base import LEASE, deliver, orders, sales

pytestmark = pytest.mark.asyncio


async def test_everything_works_through_a_pooler_in_transaction_mode(pgbouncer, postgres_schema):
    first, second = (
        PostgresOutbox(pgbouncer.dsn, schema=postgres_schema, behind_pooler=True) for _ in range(2)
    )
    for outbox in (first, second):
        await outbox.open(["alpha", "beta"])
    groups = [sales(*range(start, start + 10)) for start in range(0, 100, 10)]

    await asyncio.gather(*(outbox.append(group) for group in groups for outbox in (first, second)))

    assert list(await second.append(sales(5, 100))) == [Appended.REPEAT, Appended.NEW]
    assert sorted(await deliver(first, "alpha")) == list(range(101))
    claims = await asyncio.gather(*(second.claim("beta", 30, LEASE) for _ in range(4)))
    assert sorted(order for claim in claims for order in orders(claim)) == list(range(101))
    for claim in claims:
        assert await second.settle(claim)
    assert (await first.reports(["sale:7"]))["sale:7"].delivered
    assert await first.prune(remember=0) == 101
    for outbox in (first, second):
        await outbox.aclose()
