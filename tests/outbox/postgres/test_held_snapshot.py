"""A snapshot that is held for long, as by a backup, keeps deleted rows: claims stay as cheap."""

import json

import pytest

from anytrack_async.testing.outbox_rules.base import LEASE, sales

pytestmark = pytest.mark.asyncio

CLAIMS = 6_000
BLOCKS = 80
"""More than any of these statements reads at first, and less than deleted rows of `CLAIMS` have."""


def claim(lease):
    return f"claim_v1('alpha', {lease}, 1, {LEASE}, 1000000, 1, 0, NULL)"


def settle(lease):
    return f"settle_v2('alpha', {lease}, NULL)"


async def test_claims_do_not_walk_along_the_rows_that_a_snapshot_keeps(outbox, connect):
    holder, worker = await connect(), await connect()
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.fetchval("SELECT count(*) FROM pg_class")
    await outbox.append(sales(*range(1, CLAIMS + 1)))

    async def read_blocks(call):
        """Return how many blocks a call of a function of the outbox reads."""
        plan = await worker.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT {outbox.schema}.{call}"
        )
        (top,) = json.loads(plan)
        return top["Plan"]["Shared Hit Blocks"] + top["Plan"]["Shared Read Blocks"]

    async def blocks_of_each(lease):
        await outbox.append(sales(lease))
        return {
            "claim": await read_blocks(claim(lease)),
            "claim of none": await read_blocks(claim(0)),
            "renew": await read_blocks(f"renew_v1('alpha', {lease}, {LEASE}, NULL)"),
            "settle": await read_blocks(settle(lease)),
        }

    await worker.execute(
        f"""DO $$ BEGIN FOR lease IN 1..{CLAIMS} LOOP
            PERFORM {outbox.schema}.{claim("lease")}; COMMIT;
            PERFORM {outbox.schema}.{settle("lease")}; COMMIT;
        END LOOP; END $$"""
    )
    # Autovacuum does this within a minute: the tables seem to be empty then, and plans change.
    for table in ("lease", "span", "progress", "numbering", "arrival"):
        await worker.execute(f"VACUUM ANALYZE {outbox.schema}.{table}")
    await blocks_of_each(CLAIMS + 1)  # also reads the catalogue

    blocks = await blocks_of_each(CLAIMS + 2)

    assert {name: count for name, count in blocks.items() if count > BLOCKS} == {}
