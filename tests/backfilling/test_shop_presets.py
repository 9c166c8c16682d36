"""The presets of Shopify, Stripe and our own files, on files in the real shape."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anytrack_async import (
    BackfillSettings,
    ConfigurationError,
    Conversion,
    LineItem,
    read_conversions,
)
from anytrack_async.backfilling.presets.registry import (
    find_preset,
    preset_names,
    recognise,
)
from anytrack_async.demo.sample import sample_lines
from tests.backfilling.tables import SHOPS, read

pytestmark = pytest.mark.asyncio


# Recognising


async def test_an_unknown_name_lists_the_presets():
    assert {"shopify", "stripe", "anytrack", "demo"} <= {*preset_names()}
    with pytest.raises(ConfigurationError, match=r"presets: .*shopify"):
        find_preset("shopfy")


async def test_a_preset_is_recognised_in_any_order_and_case():
    columns = ["LINEITEM QUANTITY", "more", " paid at", "Name", "\ufeffFinancial  Status"]

    preset = recognise(columns)

    assert preset is not None
    assert preset.name == "shopify"
    assert recognise(columns[1:]) is None


async def test_the_file_of_payouts_is_refused_with_the_reason():
    with pytest.raises(ConfigurationError, match=r"stripe_payouts\.csv is not usable.*payouts"):
        await read(SHOPS / "stripe_payouts.csv")


# Shopify


async def test_shopify():
    reader = read_conversions(SHOPS / "shopify_2026.csv")
    ann, bob = [row async for row in reader if isinstance(row, Conversion)]

    assert reader.sources[0].recognised
    assert (ann.event_id, ann.revenue, ann.currency) == ("sale:5001", Decimal("49.90"), "EUR")
    assert ann.timestamp == datetime(2026, 5, 1, 8, tzinfo=UTC)
    assert ann.items == (
        LineItem(id="SKU-1", title="Shirt - M", quantity=1, price="30.00", brand="Acme"),
        LineItem(id='Hat, "wide"', title='Hat, "wide"', quantity=2, price="7.50", brand="Acme"),
    )
    assert ann.click_id == "At01click"
    assert ann.custom_data == {"coupon": "SPRING"}
    customer: Any = ann.customer
    assert (customer.fbclid, customer.fbp) == ("IwAR0aBc", "fb.1.1700000000000.123")
    assert (customer.first_name, customer.last_name) == (("Ann Bo",), ("Chi",))
    assert (customer.postal_code, customer.phone) == (("01067",), ("+49 170 1234567",))
    assert bob.revenue == Decimal("1234.50")
    counts = reader.counts
    assert (counts.rows, counts.folded, counts.refunds) == (4, 1, 1)
    assert counts.skipped == {"refund or cancellation": 1, "Financial Status: pending": 1}


async def test_shopify_of_an_older_year_has_no_ids():
    (order,) = (await read(SHOPS / "shopify_2019.csv")).conversions

    assert order.event_id == "sale:#7"
    assert [item.id for item in order.items] == ["Shirt", "Hat"]
    assert order.timestamp == datetime(2019, 5, 1, 14, tzinfo=UTC)


async def test_shopify_net_of_refunds_and_refunds_as_events():
    settings = BackfillSettings(amount="net", refunds="custom")
    _, bob, refund = (await read(SHOPS / "shopify_2026.csv", settings=settings)).conversions

    assert bob.revenue == Decimal("1200.00")
    assert (refund.event_id, refund.revenue) == ("custom:Refund:5003", Decimal("10.00"))


async def test_an_unknown_choice_of_the_amount_is_told():
    with pytest.raises(ConfigurationError, match="choose one of gross, net, subtotal"):
        await read(SHOPS / "shopify_2026.csv", settings=BackfillSettings(amount="payout"))


# Stripe


async def test_stripe():
    result = await read(SHOPS / "stripe.csv")

    ann, bob, again = result.conversions
    assert (ann.event_id, ann.revenue, ann.currency) == ("sale:9001", Decimal("1000.00"), "EUR")
    assert ann.timestamp == datetime(2026, 6, 5, 20, 38, 34, tzinfo=UTC)
    assert ann.custom_data["plan"] == "pro"
    assert ann.customer is not None
    assert (ann.customer.fbclid, ann.customer.external_id) == ("IwAR9", ("cus_1",))
    assert (bob.event_id, bob.revenue, again.order_id) == ("sale:ch_2", Decimal("50.00"), "ch_6")
    assert result.counts.skipped == {
        "Status: failed": 1,
        "refund or cancellation": 1,
        "made in Stripe's test mode": 1,
    }


async def test_stripe_settings():
    settings = BackfillSettings(amount="net", test=True, only_first=True)
    result = await read(SHOPS / "stripe.csv", settings=settings)

    assert [str(sale.revenue) for sale in result.conversions] == ["1000.00", "30.00", "50.00"]
    assert [sale.order_id for sale in result.conversions] == ["9001", "ch_2", "ch_5"]
    assert result.counts.skipped["not the customer's first"] == 1


# Ours


async def test_our_own_export_is_read_back(tmp_path: Path):
    path = tmp_path / "export.csv"
    columns = (
        *("id", "click_id", "conversion_type", "revenue", "currency", "source", "campaign_id"),
        *("ad_id", "timestamp", "ip_address", "order_id", "event_id"),
    )
    row = (
        *("c1", "k1", "lead", "5.00", "EUR", "'=google", "", "7", "2026-05-01T08:00:00+00:00"),
        *("203.0.113.7", "1001", "lead:1001"),
    )
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, row])

    (lead,) = (await read(path)).conversions

    assert lead == Conversion.lead(
        click_id="k1",
        id="c1",
        revenue="5.00",
        currency="EUR",
        source="=google",
        ad_id="7",
        timestamp=datetime(2026, 5, 1, 8, tzinfo=UTC),
        ip_address="203.0.113.7",
        order_id="1001",
    )


async def test_the_lines_of_the_demo_are_read(tmp_path: Path):
    path = tmp_path / "sample.jsonl"
    path.write_text("\n".join(sample_lines()), encoding="utf-8")

    result = await read(path)

    assert result.presets == ["demo"]
    # Of the 14 lines that are no conversions, two have a negative amount: refunds.
    assert (result.counts.rows, result.counts.rejected, result.counts.refunds) == (1000, 12, 2)
