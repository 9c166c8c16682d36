"""Forgetting what failed: each row costs as little as one, however many conversions are stored."""

import json

import pytest

from anytrack_async.testing.outbox_rules.base import LEASE, failures, sales

pytestmark = pytest.mark.asyncio

BLOCKS = 60
"""More than a look at one position reads, and less than one at each of 4,000 stored conversions."""


async def test_a_row_of_the_history_is_forgotten_without_reading_the_log(outbox, connect):
    for start in range(0, 4_000, 200):
        await outbox.append(sales(*range(start, start + 200)))
    claim = await outbox.claim("alpha", 200, LEASE)
    await outbox.settle(claim, failures(claim, *range(200)))
    await outbox.settle(await outbox.claim("beta", 200, LEASE))
    await outbox.discard("alpha")
    await outbox.prune(remember=0)  # forgets nothing of the moment
    connection = await connect()
    await connection.execute(f"UPDATE {outbox.schema}.retention SET forgotten = 200")
    statement = f"SELECT {outbox.schema}.is_remembered_v1(100, 100)"
    await connection.fetch(statement)  # also reads the catalogue

    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {statement}")
    (top,) = json.loads(plan)

    assert top["Plan"]["Shared Hit Blocks"] + top["Plan"]["Shared Read Blocks"] < BLOCKS
