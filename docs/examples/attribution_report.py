"""Which sources led to the sales of the last 30 days, by AnyTrack's attribution?

$ python attribution_report.py
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from anytrack_async import AnyTrackClient


async def main() -> None:
    """Divide the revenue of each sale among the sources of its touchpoints."""
    revenue: defaultdict[str, float] = defaultdict(float)
    async with AnyTrackClient.from_env() as client:
        async for sale in client.stream_conversions():
            if not sale.id or not sale.revenue:
                continue
            attribution = await client.calculate_attribution(sale.id)
            touchpoints = await client.get_touchpoints(sale.id)
            for touchpoint, weight in zip(touchpoints, attribution.weights.values(), strict=False):
                revenue[touchpoint.source or "direct"] += weight * float(sale.revenue)
    for source, amount in sorted(revenue.items(), key=lambda item: -item[1]):
        print(f"{amount:10.2f}  {source}")


if __name__ == "__main__":
    asyncio.run(main())
