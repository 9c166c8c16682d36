"""Rows that were accepted before are recognised without being mapped, and counted the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from anytrack_async import (
    AnyTrackClient,
    BackfillReport,
    BackfillSettings,
    Conversion,
    MemoryOutbox,
    SQLiteOutbox,
    backfill,
)
from anytrack_async.backfilling import run as run_module
from anytrack_async.backfilling.compiled import RowMapper
from tests.backfilling.tables import shopify_row, write_csv
from tests.client.service import Service

pytestmark = pytest.mark.asyncio

NOW = datetime.now(UTC)


def order(number: int, age: timedelta = timedelta(hours=1), **changes: str) -> dict[str, str]:
    paid = (NOW - age).strftime("%Y-%m-%d %H:%M:%S +0000")
    return shopify_row(number, Paid_at=paid, **changes)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(params=["memory", "sqlite"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryOutbox | SQLiteOutbox:
    if request.param == "memory":
        return MemoryOutbox(remember_ids=100_000)
    return SQLiteOutbox(tmp_path / "outbox.db")


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The first cells of the rows that were mapped as a whole."""
    rows: list[Any] = []
    call = RowMapper.__call__

    def counted(self: RowMapper, row: Any, others: Any = ()) -> Any:
        rows.append(row[0])
        return call(self, row, others)

    monkeypatch.setattr(RowMapper, "__call__", counted)
    return rows


async def test_a_second_run_with_other_settings_maps_no_row(
    service: Service, tmp_path: Path, outbox, mapped: list[Any]
):
    path = write_csv(tmp_path / "orders.csv", [order(number) for number in range(1200)])

    async with service.client(outbox=outbox) as client:
        first = await backfill(client, path)
        mapped.clear()
        second = await backfill(client, path, settings=BackfillSettings(timezone="UTC"))

    assert first.counts.accepted == 1200
    assert (second.unchanged, second.counts.repeats) == (False, 1200)
    assert second.counts.skipped == {"accepted before": 1200}
    assert second.counts.rows == 1200
    assert not mapped


async def test_a_first_run_asks_for_few_rows(service: Service, tmp_path: Path, outbox):
    path = write_csv(tmp_path / "orders.csv", [order(number) for number in range(3000)])
    asked: list[int] = []
    summaries = outbox.summaries

    async def counted(event_ids: Any) -> Any:
        asked.append(len(event_ids))
        return await summaries(event_ids)

    outbox.summaries = counted
    async with service.client(outbox=outbox) as client:
        await backfill(client, path)

    assert sum(asked) <= 200


async def test_an_order_whose_amount_has_changed_is_still_a_contradiction(
    service: Service, tmp_path: Path, outbox
):
    path = write_csv(tmp_path / "orders.csv", [order(number) for number in range(60)])

    async with service.client(outbox=outbox) as client:
        await backfill(client, path)
        rows = [order(number, Total="1.00" if number == 7 else "49.90") for number in range(60)]
        rows.append(order(61, Total=""))
        report = await backfill(client, write_csv(path, rows))

    assert (report.counts.repeats, report.counts.contradictions) == (60, 1)
    assert [reject.line for reject in report.rejects] == [62, 9]


async def test_a_dry_run_finds_contradictions_with_the_outbox(
    service: Service, tmp_path: Path, outbox
):
    path = write_csv(tmp_path / "orders.csv", [order(1), order(2)])
    settings = BackfillSettings(dry_run=True)

    async with service.client(outbox=outbox) as client:
        await backfill(client, path)
        write_csv(path, [order(1), order(2, Total="1.00"), order(3)])
        report = await backfill(client, path, settings=settings, outbox=outbox)

    assert (report.counts.repeats, report.counts.contradictions) == (2, 1)
    assert report.counts.accepted == 1
    assert "accepted as sale 49.90 EUR and came again as sale 1.00 EUR" in report.rejects[0].reason


@pytest.mark.parametrize("order_id", ["", "  "])
async def test_rows_without_an_order_id_are_known_too(
    service: Service, tmp_path: Path, outbox, order_id: str
):
    rows = [order(number, Id=order_id, Name=order_id) for number in range(60)]
    path = write_csv(tmp_path / "orders.csv", rows)

    async with service.client(outbox=outbox) as client:
        first = await backfill(client, path)
        second = await backfill(client, path, settings=BackfillSettings(currency="EUR"))

    assert (first.counts.accepted, second.counts.repeats, second.counts.accepted) == (60, 60, 0)


SETTINGS = (
    BackfillSettings(currency="EUR"),
    BackfillSettings(since=NOW - timedelta(days=3)),
    BackfillSettings(until=NOW - timedelta(days=3)),
    BackfillSettings(to="meta"),
    BackfillSettings(refunds="custom"),
    BackfillSettings(only_first=True),
    BackfillSettings(duplicates="fail"),
    BackfillSettings(limit=555),
    BackfillSettings(amount="subtotal"),
)


@pytest.mark.untraced
@pytest.mark.parametrize("settings", SETTINGS)
async def test_counts_are_those_of_mapping_every_row(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: BackfillSettings
):
    random = Random(13)
    rows = [strange_row(random, number) for number in range(800)]
    path = write_csv(tmp_path / "orders.csv", rows)
    reports = []

    for find in (run_module.known_rows, lambda *_: None):
        monkeypatch.setattr(run_module, "known_rows", find)
        outbox = MemoryOutbox(remember_ids=100_000)
        async with service.client(sinks=[service.meta()], outbox=outbox) as client:
            await accept_some(client)
            reports.append(await backfill(client, path, settings=settings))

    assert comparable(reports[0]) == comparable(reports[1])
    assert reports[0].counts.repeats or settings.to or settings.amount or settings.limit


def strange_row(random: Random, number: int) -> dict[str, str]:
    """Mostly a usual order; some are refunded, without amount or time, or older than Meta takes."""
    row = order(number, timedelta(days=random.choice((1, 2, 4, 30))), Subtotal="49.90")
    if random.random() < 0.2:
        name, value = random.choice(
            (
                *(("Total", ""), ("Total", "-3"), ("Currency", "?"), ("Currency", "eur")),
                *(("Financial Status", "refunded"), ("Financial Status", "pending")),
                *(("Created at", "soon"), ("Paid at", "soon"), ("Email", "one@example.com")),
                *(("Id", f"{5_000_000 + number - 1}"), ("Total", "1.00"), ("Total", "49.9")),
            )
        )
        row[name] = value
    return row


async def accept_some(client: AnyTrackClient) -> None:
    numbers = [number for number in range(800) if number % 400 < 300]
    await client.accept_many(
        [
            Conversion.sale(order_id=str(5_000_000 + number), revenue="49.90", currency="EUR")
            for number in numbers
        ]
    )


def comparable(report: BackfillReport) -> Any:
    lines = sorted((reject.line, reject.reason) for reject in report.rejects)
    return attrs.evolve(report.counts), lines
