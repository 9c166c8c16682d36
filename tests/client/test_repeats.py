"""The same event id again, by each method of the client and with each outbox: first wins."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from anytrack_async import (
    ConflictError,
    Contradicted,
    Conversion,
    Customer,
    LineItem,
    SQLiteOutbox,
)
from tests.client.service import QUICK, Service

pytestmark = pytest.mark.asyncio

SALE = Conversion.sale(
    revenue="49.90",
    click_id="k1",
    order_id="1",
    ip_address="8.8.8.8",
    user_agent="Mozilla/5.0",
    customer=Customer(email="jane@example.com"),
    items=[LineItem(id="a", price="49.90")],
)
AGAIN = attrs.evolve(
    SALE,
    revenue=Decimal("49.9"),
    click_id="k2",
    ip_address="1.1.1.1",
    user_agent="curl/8",
    page_url="https://example.com/thanks?fbclid=x",
    customer=Customer(email="JANE@example.com", fbc="fb.1.1700000000000.abc"),
    items=[],
    custom_data={"plan": "pro"},
)
OTHER = attrs.evolve(SALE, revenue="59.90")
WORDS = "conversion 'sale:1' was accepted as sale 49.90 USD and came again as sale 59.90 USD"


class Collector:
    """An observer that keeps contradictions."""

    def __init__(self) -> None:
        self.contradicted: list[Contradicted] = []

    def notify(self, event: object) -> None:
        if isinstance(event, Contradicted):
            self.contradicted.append(event)


@pytest.fixture(params=["memory", "sqlite"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "a.db" if request.param == "sqlite" else None


async def test_a_repeat_that_knows_more_or_less_is_the_same_conversion(
    service: Service, outbox: Path | None
):
    observer = Collector()
    async with service.client(outbox=outbox, observers=[observer]) as client:
        first = await client.track_conversion(SALE)
        assert await client.track_conversion(AGAIN) == first
        deliveries = [await client.submit(AGAIN), *await client.submit_many([AGAIN, SALE])]
        reports = [report async for report in client.track_many([AGAIN, SALE])]
        stats = await client.stats()

    assert first.conversion_id == "at-sale:1"
    assert [delivery.contradicts for delivery in deliveries] == [None] * 3
    assert [report.contradicts for report in reports] == [None] * 2
    assert all(report.delivered for report in reports)
    assert [report.outcomes["anytrack"].remote_id for report in reports] == ["at-sale:1"] * 2
    assert (observer.contradicted, stats.contradicted, stats.submitted) == ([], 0, 1)
    assert [body["click_id"] for body in service.bodies()] == ["k1"]


async def test_a_contradiction_is_told_by_each_method_and_raised_by_none(
    service: Service, outbox: Path | None, caplog: pytest.LogCaptureFixture
):
    observer = Collector()
    with caplog.at_level(logging.WARNING, "anytrack_async"):
        async with service.client(outbox=outbox, observers=[observer]) as client:
            receipt = await client.track_conversion(SALE)
            assert (await client.track_conversion(OTHER)).event_id == receipt.event_id
            await client.track_sale("k1", "59.90", order_id="1")
            told = [(await client.submit(OTHER)).contradicts]
            told += [delivery.contradicts for delivery in await client.submit_many([OTHER, SALE])]
            told += [report.contradicts async for report in client.track_many([OTHER])]
            stats = await client.stats()

    assert [str(contradiction) for contradiction in told] == [WORDS, WORDS, "None", WORDS]
    assert [str(event.contradiction) for event in observer.contradicted] == [WORDS] * 5
    assert (stats.contradicted, stats.submitted) == (5, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 5
    assert all(record.getMessage().startswith(WORDS) for record in caplog.records)
    assert "jane" not in caplog.text.lower()
    assert [body["value"] if "value" in body else body["revenue"] for body in service.bodies()] in (
        [49.9],
        ["49.90"],
    )


@pytest.mark.parametrize(
    "fields",
    [{"revenue": "59.90"}, {"currency": "EUR"}, {"conversion_type": "lead"}],
    ids=lambda fields: next(iter(fields)),
)
async def test_each_method_raises_if_asked_to(
    service: Service, outbox: Path | None, fields: dict[str, Any]
):
    other = attrs.evolve(SALE, event_id=SALE.event_id, **fields)
    lead = Conversion.lead(order_id="9", click_id="k9")
    settings = attrs.evolve(QUICK, on_conflict="raise")
    async with service.client(outbox=outbox, delivery=settings) as client:
        await client.track_conversion(SALE)
        await client.track_conversion(AGAIN)
        with pytest.raises(ConflictError):
            await client.track_conversion(other)
        with pytest.raises(ConflictError):
            await client.submit(other)
        with pytest.raises(ConflictError) as caught:
            await client.submit_many([lead, other, SALE])
        with pytest.raises(ConflictError):
            [report async for report in client.track_many([other])]
        assert (await caught.value.deliveries[0]).delivered
        stats = await client.stats()

    assert (stats.contradicted, stats.submitted) == (4, 2)
    assert {body["click_id"] for body in service.bodies()} == {"k1", "k9"}


async def test_an_amount_that_is_not_given_is_0(service: Service, outbox: Path | None):
    async with service.client(outbox=outbox) as client:
        await client.submit(Conversion.lead(event_id="e"))
        same = await client.submit_many(
            [
                Conversion.lead(event_id="e", revenue=0),
                Conversion.lead(event_id="e", revenue=float("nan"), currency="EUR"),
            ]
        )
        other = await client.submit(Conversion.lead(event_id="e", revenue=5))

    assert [delivery.contradicts for delivery in same] == [None, None]
    assert str(other.contradicts).endswith("as lead 0 USD and came again as lead 5 USD")


async def test_tasks_that_submit_the_same_id_at_once_get_one_conversion(
    service: Service, outbox: Path | None
):
    sales = [attrs.evolve(SALE, revenue=amount) for amount in (1, 2, 1, 2, 1, 2)]
    deliveries: dict[int, Any] = {}

    async def submit(client: Any, index: int) -> None:
        deliveries[index] = await client.submit(sales[index])

    async with service.client(outbox=outbox) as client:
        async with anyio.create_task_group() as tasks:
            for index in range(len(sales)):
                tasks.start_soon(submit, client, index)
        stats = await client.stats()
        reports = [await deliveries[index] for index in range(len(sales))]

    (revenue,) = [Decimal(str(body["revenue"])) for body in service.bodies()]
    assert [report.contradicts is None for report in reports] == [
        sale.revenue == revenue for sale in sales
    ]
    assert (stats.submitted, stats.contradicted) == (1, 3)
    assert all(report.delivered for report in reports)


OTHER_PROCESS = """
import json, sys, anyio
from anytrack_async import Conversion, SQLiteOutbox

async def main():
    outbox = SQLiteOutbox(sys.argv[1])
    await outbox.open([])
    for revenue in sys.argv[2:]:
        (result,) = await outbox.append([Conversion.sale(order_id="1", revenue=revenue)])
        print(result)
    await outbox.aclose()

anyio.run(main)
"""


def in_another_process(path: Path, *revenues: str) -> list[str]:
    return run_script(OTHER_PROCESS, path, *revenues)


def run_script(script: str, path: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", script, str(path), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()


async def test_another_process_recognises_repeats_and_contradictions(
    service: Service, tmp_path: Path
):
    path = tmp_path / "a.db"
    async with service.client(outbox=path) as client:
        await client.track_conversion(SALE)
        assert await anyio.to_thread.run_sync(in_another_process, path, "49.9", "59.90") == [
            "repeat",
            WORDS,
        ]
        (delivery,) = await client.submit_many([OTHER])
        assert str(delivery.contradicts) == WORDS


async def test_a_conversion_of_another_process_is_the_first(service: Service, tmp_path: Path):
    path = tmp_path / "a.db"
    setup = SQLiteOutbox(path)
    await setup.open(["anytrack"])
    await setup.aclose()
    assert await anyio.to_thread.run_sync(in_another_process, path, "49.90") == ["new"]

    async with service.client(outbox=path) as client:
        delivery = await client.submit(OTHER)
        report = await delivery
        assert (await client.submit(AGAIN)).contradicts is None

    assert report.delivered
    assert str(report.contradicts) == WORDS
    assert json.loads(service.last.content)["revenue"] in (49.9, "49.90")


# The id that AnyTrack gave

ANOTHER_RUN = """
import sys, anyio, httpx
from anytrack_async import AnyTrackClient, Conversion

def refuse(request):
    raise AssertionError("nothing may be sent")

async def main():
    transport = httpx.MockTransport(refuse)
    client = AnyTrackClient("key", "account-1", outbox=sys.argv[1], transport=transport)
    async with client:
        sale = Conversion.sale(revenue="49.90", order_id="1", click_id="k9")
        print((await client.track_conversion(sale)).conversion_id)
        print((await client.submit(sale)).report.outcomes["anytrack"].remote_id)

anyio.run(main)
"""


async def test_another_process_gets_the_id_that_anytrack_gave(service: Service, tmp_path: Path):
    path = tmp_path / "a.db"
    async with service.client(outbox=path) as client:
        await client.track_conversion(SALE)
        lines = await anyio.to_thread.run_sync(run_script, ANOTHER_RUN, path)
        assert lines == ["at-sale:1"] * 2
    assert await anyio.to_thread.run_sync(run_script, ANOTHER_RUN, path) == ["at-sale:1"] * 2


async def test_a_later_run_gets_the_id_until_the_event_id_is_forgotten(
    service: Service, tmp_path: Path
):
    path = tmp_path / "a.db"
    async with service.client(outbox=path) as client:
        first = await client.track_conversion(SALE)
        await client.track_sale("k2", "9.90", order_id="2")
    for remember in (3600, 0):
        outbox = SQLiteOutbox(path)
        await outbox.open([])
        dropped = await outbox.prune(remember=remember)
        await outbox.aclose()
        sent = len(service.requests)
        async with service.client(outbox=path) as client:
            assert await client.track_conversion(AGAIN) == first
        # Once the id is forgotten, the conversion is a new one, and is sent again.
        assert (dropped, len(service.requests) - sent) == ((2, 0) if remember else (0, 1))


async def test_an_early_release_kept_no_id(service: Service, tmp_path: Path):
    path = tmp_path / "a.db"
    async with service.client(outbox=path) as client:
        first = await client.track_conversion(SALE)
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("DELETE FROM remote_ids")
        sql.commit()

    async with service.client(outbox=path) as client:
        assert await client.track_conversion(AGAIN) == attrs.evolve(first, conversion_id=None)
