"""Money, time and ids that a row states twice, or wrongly, are rejected: nothing is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytrack_async import (
    AnyTrackClient,
    BackfillSettings,
    FileMapping,
    MemoryOutbox,
    backfill,
)
from anytrack_async.testing.recording import RecordingSink
from tests.backfilling.tables import read, shopify_row, write_csv

pytestmark = pytest.mark.asyncio

COLUMNS = {"order_id": "id", "timestamp": "at", "currency": "currency"}
SHOP = FileMapping(name="shop", columns=COLUMNS, amounts="total")


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("amount", "currency", "revenue"),
    [
        ("€ 12.50", "EUR", "12.50 EUR"),
        ("12.50 USD", "", "12.50 USD"),
        ("US$12.50", "", "12.50 USD"),
        ("$12.50", "CAD", "12.50 CAD"),
        ("kr 12.50", "sek", "12.50 SEK"),
        ("$12.50", "", "currency is missing: state"),
        ("$12.50", "EUR", "currency is another one than the sign"),
        ("12.50 USD", "EUR", "currency is another one than the sign"),
        ("€12.50 USD", "", "currency is another one than the sign"),
    ],
)
async def test_a_currency_beside_the_amount_counts_and_must_not_contradict(
    amount, currency, revenue, tmp_path
):
    path = write(
        tmp_path / "a.csv", "id,at,total,currency", f"1,2026-05-01T10:00Z,{amount},{currency}"
    )

    result = await read(path, mapping=SHOP)

    texts = [f"{sale.revenue} {sale.currency}" for sale in result.conversions]
    assert [*texts, *[reject.reason for reject in result.rejects]][0].startswith(revenue)


async def test_a_sign_of_the_row_before_does_not_count(tmp_path):
    row = "2026-05-01T10:00Z,{},{}"
    path = write(
        tmp_path / "a.csv",
        "id,at,total,currency",
        f"1,{row.format('12.50 USD', 'EUR')}",
        f"2,{row.format('12.50', 'EUR')}",
    )

    result = await read(path, mapping=SHOP)

    assert [sale.order_id for sale in result.conversions] == ["2"]


@pytest.mark.parametrize("column", ["total", "at", "id", "currency"])
async def test_two_columns_of_the_same_name_must_not_differ(column, tmp_path):
    values = {"id": "1", "at": "2026-05-01T10:00Z", "total": "5", "currency": "EUR"}
    others = {"id": "2", "at": "2026-05-02T10:00Z", "total": "6", "currency": "USD"}
    header = ",".join([*values, column.upper()])
    rows = [",".join([*values.values(), cell]) for cell in (values[column], "", others[column])]
    path = write(tmp_path / "a.csv", header, *rows)

    result = await read(path, mapping=SHOP)

    assert len(result.conversions) == 2
    (reject,) = result.rejects
    assert "in 2 columns of the same name" in reject.reason
    assert (reject.line, reject.column) == (4, column)


@pytest.mark.parametrize("order_id", ["5.12346E+12", "5,12E+12", "5E+12"])
async def test_an_id_that_a_spreadsheet_has_rounded_is_rejected(order_id, tmp_path):
    path = write_csv(tmp_path / "a.csv", [shopify_row(1, Id=order_id), shopify_row(2, Id="1E+")])

    result = await read(path)

    assert [sale.order_id for sale in result.conversions] == ["1E+"]
    assert "rounded by a spreadsheet" in result.rejects[0].reason


async def test_refunds_of_an_order_in_rows_of_their_own_are_told_apart(tmp_path):
    path = write(
        tmp_path / "a.csv",
        "id,at,total,currency",
        "1,2026-05-01T10:00Z,50,EUR",
        "1,2026-05-02T10:00Z,-10.0,EUR",
        "1,2026-05-03T10:00Z,-10.00,EUR",
        "1,2026-05-03T10:00Z,-5,EUR",
    )

    result = await read(path, mapping=SHOP, settings=BackfillSettings(refunds="custom"))

    assert [sale.event_id for sale in result.conversions] == [
        "sale:1",
        "custom:Refund:1:20260502T100000Z-10",
        "custom:Refund:1:20260503T100000Z-10",
        "custom:Refund:1:20260503T100000Z-5",
    ]
    assert [str(sale.revenue) for sale in result.conversions] == ["50", "10.0", "10.00", "5"]


async def test_corrections_of_a_tracker_are_told_apart_by_their_amount(tmp_path):
    path = write(tmp_path / "a.csv", "k1,12.5,sale,tx1,1777622400", "k1,-2,,tx1,1777622400")
    settings = BackfillSettings(currency="USD", refunds="custom")

    result = await read(path, preset="voluum", settings=settings)

    assert [sale.event_id for sale in result.conversions] == [
        "sale:tx1",
        "custom:Refund:tx1:20260501T080000Z-2",
    ]


async def test_an_email_address_in_stripes_metadata_is_the_customers_only(tmp_path):
    path = write(
        tmp_path / "a.csv",
        "id,Created date (UTC),Amount,Currency,Status,email (metadata),plan (metadata)",
        "ch_1,2026-05-01 10:00:00,5,eur,Paid,jane@example.com,pro",
    )

    (sale,) = (await read(path)).conversions

    assert sale.custom_data == {"plan": "pro"}
    assert sale.customer is not None
    assert sale.customer.email == ("jane@example.com",)


async def test_a_row_with_too_many_cells_does_not_pass_when_it_is_fed_back_uncorrected(tmp_path):
    path = write(tmp_path / "a.csv", "id,at,total,currency", "1,2026-05-01T10:00Z,5,EUR,USD,x")
    rejects = tmp_path / "rejects.csv"
    settings = BackfillSettings(rejects=rejects)

    async with AnyTrackClient(
        anytrack=False, sinks=[RecordingSink()], outbox=MemoryOutbox()
    ) as client:
        await backfill(client, path, mapping=SHOP, settings=settings)
    again = await read(rejects, mapping=SHOP)

    assert rejects.read_text(encoding="utf-8").splitlines()[1].endswith(",USD,x")
    assert not again.conversions
    assert "cells, but the header has" in again.rejects[0].reason
