"""Our own files, edited by hand: amount, currency and time are not chosen silently there either."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytrack_async import BackfillSettings
from tests.backfilling.tables import Result, read

pytestmark = pytest.mark.asyncio

HEADER = "conversion_type;revenue;currency;timestamp;order_id\n"


async def one(tmp_path: Path, row: str, **options: str) -> Result:
    path = tmp_path / "export.csv"
    path.write_text(f"{HEADER}{row}\n", encoding="utf-8")
    result = await read(path, settings=BackfillSettings(**options))  # type: ignore[arg-type]
    assert result.counts.rows == 1
    return result


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("sale;1,5;EUR;2026-05-01T10:00Z;1", "state the sign, decimal="),
        ("sale;;EUR;2026-05-01T10:00Z;1", "revenue is missing"),
        ("sale;5;;2026-05-01T10:00Z;1", "state the currency of the file, currency="),
        ("sale;5;EUR;2026-05-01 10:00;1", "state the zone of the file's times, timezone="),
        ("sale;5;EUR;2026-05-01T10:00Z;5.1E+12", "rounded by a spreadsheet"),
        ("sale;5;nan;2026-05-01T10:00Z;1", "state the currency of the file, currency="),
        ("sale;5;EUR; ;1", "state timestamp="),
    ],
)
async def test_what_is_missing_or_unclear_is_rejected(row: str, problem: str, tmp_path: Path):
    (reject,) = (await one(tmp_path, row)).rejects

    assert problem in reject.reason


async def test_the_settings_state_what_the_row_does_not(tmp_path: Path):
    stated = {"decimal": ",", "currency": "CHF", "timezone": "+02:00"}

    (sale,) = (await one(tmp_path, "sale;1.234,50;;2026-05-01 10:00;1", **stated)).conversions

    assert (str(sale.revenue), sale.currency, sale.timestamp.hour) == ("1234.50", "CHF", 8)


async def test_an_exact_amount_of_ours_with_an_exponent_is_read(tmp_path: Path):
    (sale,) = (await one(tmp_path, "sale;1.5E+3;EUR;2026-05-01T10:00Z;1", decimal=".")).conversions

    assert sale.revenue == 1500


async def test_a_lead_needs_neither_amount_nor_currency(tmp_path: Path):
    (lead,) = (await one(tmp_path, "lead;;;2026-05-01T10:00Z;1")).conversions

    assert lead.event_id == "lead:1"


async def test_a_negative_amount_is_a_refund(tmp_path: Path):
    row = "sale;-5;EUR;2026-05-01T10:00Z;1"

    counted = await one(tmp_path, row)
    sent = await one(tmp_path, row, refunds="custom")

    assert (counted.counts.refunds, counted.counts.skipped) == (1, {"refund or cancellation": 1})
    (refund,) = sent.conversions
    assert (refund.event_id, str(refund.revenue)) == ("custom:Refund:1", "5")
