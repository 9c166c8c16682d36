"""Conversions for tests of exports, and reading the files that these write."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import anyio

from anytrack_async import Conversion, Customer

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FULL = Conversion.sale(
    id="c1",
    click_id="k1",
    revenue="49.90",
    currency="EUR",
    source="google",
    campaign_id="42",
    ad_id="7",
    timestamp=AT,
    ip_address="203.0.113.9",
    user_agent="Mozilla/5.0",
    page_url="https://example.com/",
    order_id="1001",
    sub_ids={"s1": "a"},
    custom_data={"plan": "pro"},
    customer=Customer(email="jane@example.com"),
)


async def source(*conversions: Conversion) -> AsyncGenerator[Conversion, None]:
    for conversion in conversions:
        yield conversion


async def repeated(times: int) -> AsyncGenerator[Conversion, None]:
    for _ in range(times):
        yield FULL


async def rows_of(path: Path) -> list[list[str]]:
    text = (await anyio.Path(path).read_bytes()).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def files_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())
