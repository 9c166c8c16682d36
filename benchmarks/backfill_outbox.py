"""Row 20: Shopify's export into a SQLite outbox, against a loop by hand; and twice more."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import anyio

from anytrack_async import (
    AnyTrackClient,
    BackfillSettings,
    Conversion,
    Customer,
    LineItem,
    Outcome,
    SinkLimits,
    backfill,
)
from benchmarks.measure import Row, interleaved, rates
from benchmarks.orders import orders_file

NUMBER = 20
NEEDS = ()


class InstantSink:
    """A destination that takes everything in 0 ms."""

    name = "instant"
    limits = SinkLimits(batch=1000, concurrency=2)

    def __init__(self) -> None:
        self.requests = 0

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        self.requests += 1
        return [Outcome.delivered()] * len(batch)


def run(quick: bool) -> Row:
    """Compare rows per second, and a second run with the first."""
    count = 20_000 if quick else 1_000_000
    with orders_file(count) as path:
        runs = {"backfill": lambda: _ours(path), "by hand": lambda: _by_hand(path)}
        costs = interleaved(runs, 1 if count > 100_000 else 3)
        first, second, changed, requests = anyio.run(_repeatedly, path)
    ratio = costs["by hand"].wall / costs["backfill"].wall
    return Row(
        number=NUMBER,
        measure=f"{count:,} rows in Shopify's shape into a SQLite outbox, a destination at 0 ms; "
        "the same file again; and with other settings",
        against="`csv.DictReader`, `Conversion` and `submit_many(1000)` by hand; the first run",
        target="≥ 0.85 × its rows/s; ≥ 3 × as fast, 0 requests",
        result=f"{ratio:.2f} ×; {first / second:.0f} × and {first / changed:.1f} ×, "
        f"{requests} requests",
        reached=ratio >= 0.85 and first >= 3 * max(second, changed) and not requests,
        details=rates(costs, "rows"),
    )


async def _ours(path: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with _client(InstantSink(), folder) as client:
            report = await backfill(client, path, settings=BackfillSettings(to="instant"))
    return report.counts.rows


async def _repeatedly(path: Path) -> tuple[float, float, float, int]:
    """Return the seconds of three runs, and the requests of the last two.

    The third has another default currency, so that it reads the file row by row.
    """
    times, requests = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for currency in (None, None, "SEK"):
            sink = InstantSink()
            settings = BackfillSettings(to="instant", currency=currency)
            async with _client(sink, folder) as client:
                began = time.perf_counter()
                await backfill(client, path, settings=settings)
                times.append(time.perf_counter() - began)
            requests += sink.requests if len(times) > 1 else 0
    first, second, changed = times
    return first, second, changed, requests


async def _by_hand(path: Path) -> int:
    count, batch = 0, []
    with tempfile.TemporaryDirectory() as folder:
        async with _client(InstantSink(), folder) as client:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    count += 1
                    batch.append(_conversion(row))
                    if len(batch) == 1000:
                        await client.submit_many(batch, to=["instant"])
                        batch = []
            await client.submit_many(batch, to=["instant"])
            while (await client.stats()).destinations["instant"].waiting:  # noqa: ASYNC110
                await anyio.sleep(0.02)
    return count


def _client(sink: InstantSink, folder: str) -> AnyTrackClient:
    outbox = Path(folder) / "outbox.db"
    return AnyTrackClient("key", "account", sinks=[sink], outbox=outbox, log=False)


def _conversion(row: dict[str, str]) -> Conversion:
    first, _, last = row["Billing Name"].rpartition(" ")
    return Conversion.sale(
        order_id=row["Id"],
        revenue=row["Total"],
        currency=row["Currency"],
        timestamp=datetime.strptime(row["Paid at"], "%Y-%m-%d %H:%M:%S %z"),
        customer=Customer(
            email=row["Email"],
            phone=row["Billing Phone"],
            first_name=first,
            last_name=last,
            city=row["Billing City"],
            state=row["Billing Province"],
            postal_code=row["Billing Zip"].lstrip("'"),
            country=row["Billing Country"],
        ),
        items=[
            LineItem(
                id=row["Lineitem sku"],
                title=row["Lineitem name"],
                quantity=row["Lineitem quantity"],
                price=row["Lineitem price"],
            )
        ],
    )
