"""`inspect_source`: what each service would be sent of the first rows, without customer data."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytrack_async import BackfillSettings, inspect_source
from tests.backfilling.tables import shopify_row, write_csv
from tests.client.service import Service

pytestmark = pytest.mark.asyncio

PRIVATE = ("customer.1", "example.com", "Ann", "Chi", "01234", "AbC-click")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    row = shopify_row(
        1, Billing_Name="Ann Chi", Billing_Country="DE", Note_Attributes="fbclid: AbC-click"
    )
    return write_csv(tmp_path / "orders.csv", [row, shopify_row(2, Total="")])


async def test_every_destination_shows_what_it_would_be_sent(path: Path):
    service = Service()
    client = service.client(sinks=[service.meta(), service.hubspot()])

    inspection = await inspect_source(path, client=client)

    assert (inspection.info.preset, inspection.info.recognised) == ("shopify", True)
    (row,) = inspection.rows
    assert (row.line, row.known) == (2, False)
    assert {*row.destinations} == {"anytrack", "meta", "hubspot"}
    meta, hubspot = row.destinations["meta"], row.destinations["hubspot"]
    assert {"em", "fn", "ln", "zp", "fbc"} <= {*meta.match_keys}
    assert "ph" in meta.missing
    assert meta.problem.startswith("too old")
    assert hubspot.requests["deal"]["amount"] == "49.90"
    assert "the outbox knows sale:5000001" in meta.second_run
    assert "48 hours" in meta.second_run
    assert row.destinations["anytrack"].missing == ("click_id",)
    assert not service.requests


async def test_no_customer_data_is_shown(path: Path):
    service = Service()
    client = service.client(sinks=[service.meta(), service.hubspot()])

    text = str(await inspect_source(path, client=client))

    assert not [word for word in PRIVATE if word in text]
    assert "c…@e…" in text


async def test_a_row_that_the_outbox_knows_is_marked(path: Path):
    service = Service()

    async with service.client() as client:
        before = await inspect_source(path, outbox=client.outbox)
        await client.submit(before.rows[0].conversion)
        after = await inspect_source(path, outbox=client.outbox)

    assert (before.rows[0].known, after.rows[0].known) == (False, True)
    assert [reject.line for reject in after.rejects] == [3]


async def test_an_unknown_file_gets_a_proposal(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_text("Order,Amount,Paid at\n1,12.50,2026-05-01T10:00:00Z\n")

    inspection = await inspect_source(path, settings=BackfillSettings(currency="EUR"))

    assert inspection.guess is not None
    assert inspection.guess.columns["timestamp"] == "Paid at"
    assert not inspection.rows
