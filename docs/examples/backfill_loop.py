"""Back-fill a file of your own with a loop of your own: JSON Lines, one order a line.

$ python backfill_loop.py orders.jsonl
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from anytrack_async import AnyTrackClient, Conversion, Customer


def orders(path: str) -> Iterator[Conversion]:
    """Yield the valid orders; say which lines are not."""
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                order = json.loads(line)
                yield Conversion.sale(
                    order_id=order["id"],
                    revenue=order["total"],
                    currency="EUR",
                    timestamp=datetime.fromisoformat(order["paid_at"]),
                    customer=Customer(email=order.get("email")),
                )
            except (KeyError, TypeError, ValueError) as exc:  # also an InvalidConversionError
                print(f"line {number} is skipped: {exc!r}")


async def main(path: str) -> None:
    """Send all orders, and say what was not delivered."""
    async with AnyTrackClient.from_env(outbox="outbox.db") as client:
        delivered = 0
        async for report in client.track_many(orders(path)):
            delivered += report.delivered
            if not report.delivered:
                errors = {name: outcome.error for name, outcome in report.outcomes.items()}
                print(report.event_id, errors)
        print(f"{delivered} delivered to every destination")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
