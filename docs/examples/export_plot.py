"""Export the conversions of the last 30 days to Parquet, and draw the revenue of each day.

Needs `anytrack_async[parquet,plot]`.

$ python export_plot.py conversions.parquet revenue.png
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import matplotlib as mpl
import pyarrow.parquet as pq

from anytrack_async import AnyTrackClient

mpl.use("agg")

from matplotlib import pyplot as plt


def draw(table: str, picture: str) -> None:
    """Draw the sum of each day."""
    revenue: Counter[str] = Counter()
    for row in pq.read_table(table, columns=["timestamp", "revenue"]).to_pylist():
        revenue[f"{row['timestamp']:%Y-%m-%d}"] += float(row["revenue"])
    days = sorted(revenue)
    figure, axes = plt.subplots()
    axes.bar(days, [revenue[day] for day in days])
    axes.set_title("Revenue")
    figure.savefig(picture)


async def main(table: str, picture: str) -> None:
    """Export, then draw in a thread."""
    async with AnyTrackClient.from_env() as client:
        rows = await client.export_conversions(table)
    if rows:
        await asyncio.to_thread(draw, table, picture)
    print(f"{rows} conversions")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
