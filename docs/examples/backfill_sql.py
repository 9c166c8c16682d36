"""Back-fill the paid orders of a shop's database.

$ python backfill_sql.py shop.db
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys

from anytrack_async import (
    AmountColumns,
    AnyTrackClient,
    BackfillReport,
    FileMapping,
    SqlQuery,
    backfill,
)

ORDERS = FileMapping(
    name="shop",
    columns={"order_id": "number", "timestamp": "paid_at", "customer.email": "email"},
    amounts={"gross": AmountColumns(plus="total")},
    currency="EUR",
    timezone="UTC",
)


async def main(path: str) -> BackfillReport:
    """Send the orders; running this again sends only new ones."""
    query = SqlQuery(
        sql="SELECT number, total, paid_at, email FROM orders WHERE paid_at IS NOT NULL",
        connect=lambda: sqlite3.connect(path),
    )
    async with AnyTrackClient.from_env(outbox="outbox.db") as client:
        report = await backfill(client, query, mapping=ORDERS)
    print(report.counts)
    return report


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
