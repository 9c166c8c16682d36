"""Back-fill the orders that Shopify exports, and write the rows that need a look to a file.

$ python backfill_preset.py orders_export.csv
"""

from __future__ import annotations

import asyncio
import sys

from anytrack_async import AnyTrackClient, BackfillReport, BackfillSettings, backfill


async def main(path: str) -> BackfillReport:
    """Send the file; running this again sends nothing twice."""
    settings = BackfillSettings(timezone="Europe/Berlin", rejects="rejects.csv", max_rejects=1_000)
    async with AnyTrackClient.from_env(outbox="outbox.db") as client:
        report = await backfill(client, path, preset="shopify", settings=settings)
    counts = report.counts
    print(f"{counts.accepted} of {counts.rows} rows accepted, {counts.rejected} rejected")
    for reject in report.rejects:
        print(reject)
    return report


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
