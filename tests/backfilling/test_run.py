"""`backfill`: what is accepted, skipped and rejected, twice, interrupted, and for old orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from anytrack_async import (
    BackfillSettings,
    ConfigurationError,
    Progress,
    UnknownFormatError,
    backfill,
)
from tests.backfilling.tables import shopify_row, write_csv
from tests.client.service import Service

pytestmark = pytest.mark.asyncio

NOW = datetime.now(UTC)


def recent(number: int, **changes: str) -> dict[str, str]:
    paid = (NOW - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S +0000")
    return shopify_row(number, Paid_at=paid, **changes)


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


@pytest.fixture
def service() -> Service:
    return Service()


async def test_orders_are_delivered_with_the_event_ids_of_the_live_integration(
    service: Service, tmp_path: Path
):
    path = write_csv(tmp_path / "orders.csv", [recent(1), recent(2)])

    async with service.client(sinks=[service.meta()]) as client:
        report = await backfill(client, path)

    assert report.counts.rows == report.counts.accepted == 2
    assert report.counts.totals == {"EUR": Decimal("99.80")}
    assert report.complete
    assert {name: at.delivered for name, at in report.destinations.items()} == {
        "anytrack": 2,
        "meta": 2,
    }
    ids = [body["custom_data"]["event_id"] for body in service.bodies()]
    assert sorted(ids) == ["sale:5000001", "sale:5000002"]


async def test_the_same_file_twice_sends_nothing_twice(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(number) for number in range(2500)])

    async with service.client(outbox=tmp_path / "outbox.db") as client:
        await backfill(client, path)
    requests = len(service.requests)
    async with service.client(outbox=tmp_path / "outbox.db") as client:
        report = await backfill(client, path)

    assert len(service.requests) == requests
    assert (report.counts.accepted, report.counts.repeats) == (0, 2500)
    assert report.counts.skipped == {"accepted before": 2500}
    assert report.unchanged
    assert report.sources[0].preset == "shopify"


async def test_rows_of_another_file_are_known_by_their_ids(service: Service, tmp_path: Path):
    rows = [recent(number) for number in range(2500)]
    path, other = write_csv(tmp_path / "orders.csv", rows), write_csv(tmp_path / "2.csv", rows)

    async with service.client(outbox=tmp_path / "outbox.db") as client:
        await backfill(client, path)
        requests = len(service.requests)
        copy = await backfill(client, other)
        write_csv(path, [*rows[1:], recent(7000)])
        changed = await backfill(client, path)

    assert (copy.unchanged, copy.counts.skipped) == (False, {"accepted before": 2500})
    assert (changed.unchanged, changed.counts.accepted, changed.counts.repeats) == (False, 1, 2499)
    assert len(service.requests) == requests + 1


async def test_rejected_rows_are_told_by_every_run(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(1), recent(2, Total="")])

    async with service.client() as client:
        await backfill(client, path)
        again = await backfill(client, path)
        other = await backfill(client, path, settings=BackfillSettings(amount="subtotal"))

    assert (again.counts.rejected, again.counts.repeats, again.unchanged) == (1, 1, False)
    assert other.counts.rejected == 2


async def test_another_amount_for_the_same_order_is_rejected(service: Service, tmp_path: Path):
    rows = [recent(1), recent(2), recent(1, Total="59.90")]
    path = write_csv(tmp_path / "orders.csv", rows)

    async with service.client() as client:
        report = await backfill(client, path)

    assert (report.counts.accepted, report.counts.contradictions) == (2, 1)
    (reject,) = report.rejects
    assert reject.line == 4
    assert "accepted as sale 49.90 EUR and came again as sale 59.90 EUR" in reject.reason


async def test_duplicates_fail_on_demand(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(1), recent(2), recent(1)])

    async with service.client() as client:
        report = await backfill(client, path, settings=BackfillSettings(duplicates="fail"))

    assert (report.counts.accepted, report.counts.rejected, report.counts.repeats) == (2, 1, 1)
    assert "accepted before" in report.rejects[0].reason


async def test_meta_gets_no_order_that_is_too_old_for_it(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(1), shopify_row(2), shopify_row(3)])

    async with service.client(sinks=[service.meta()]) as client:
        report = await backfill(client, path)
        letters = await client.outbox.dead_letters()

    assert report.counts.accepted == 3
    assert report.counts.too_old == {"meta": 2}
    assert not letters
    assert report.destinations["meta"].delivered == 1
    assert report.destinations["anytrack"].delivered == 3


async def test_an_order_that_is_too_old_everywhere_is_skipped(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(1), shopify_row(2)])

    async with service.client(sinks=[service.meta()]) as client:
        report = await backfill(client, path, settings=BackfillSettings(to="meta"))

    assert report.counts.accepted == 1
    assert report.counts.skipped == {"too old for every destination": 1}


async def test_old_orders_become_dead_letters_on_demand(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [shopify_row(2)])

    async with service.client(sinks=[service.meta()]) as client:
        report = await backfill(client, path, settings=BackfillSettings(too_old="dead"))

    assert report.destinations["meta"].dead == 1
    assert not report.complete


async def test_a_dry_run_sends_and_writes_nothing(service: Service, tmp_path: Path):
    rows = [recent(1), recent(1), recent(1, Total="1.00"), shopify_row(2), recent(3, Total="")]
    path = write_csv(tmp_path / "orders.csv", rows)
    client = service.client(sinks=[service.meta()], outbox=tmp_path / "outbox.db")

    settings = BackfillSettings(dry_run=True, rejects=tmp_path / "rejects.csv")
    report = await backfill(client, path, settings=settings)

    counts = report.counts
    assert (counts.rows, counts.accepted, counts.repeats, counts.rejected) == (5, 2, 2, 2)
    assert counts.contradictions == 1
    assert counts.too_old == {"meta": 1}
    assert not service.requests
    assert not {*names(tmp_path)} - {"orders.csv"}


async def test_corrected_rejects_go_through(service: Service, tmp_path: Path):
    rows = [
        recent(1),
        recent(2, Total="", Lineitem_name="=HYPERLINK(1)", Lineitem_sku="'=A"),
        {"Name": "#2", "Lineitem quantity": "2", "Lineitem name": "Hat"},
    ]
    path, rejects = write_csv(tmp_path / "orders.csv", rows), tmp_path / "rejects.csv"
    settings = BackfillSettings(rejects=rejects)

    async with service.client() as client:
        report = await backfill(client, path, settings=settings)
        assert report.rejects_file == str(rejects)
        text = rejects.read_text(encoding="utf-8")
        corrected = tmp_path / "corrected.csv"
        corrected.write_text(text.replace(",EUR,,", ",EUR,,9.90", 1), encoding="utf-8")
        again = await backfill(client, corrected)

    assert "'=HYPERLINK(1)" in text
    assert "''=A" in text
    assert rejects.stat().st_mode & 0o077 == 0
    assert (again.counts.rows, again.counts.folded, again.counts.accepted) == (1, 1, 1)
    body = service.bodies()[-1]
    assert (body["order_id"], body["revenue"]) == ("5000002", 9.9)


async def test_too_many_rejects_stop_the_run(service: Service, tmp_path: Path):
    rows = [recent(number, Total="") for number in range(3000)]
    path = write_csv(tmp_path / "orders.csv", rows)

    async with service.client() as client:
        report = await backfill(client, path, settings=BackfillSettings(max_rejects=10))

    assert report.stopped == "max_rejects"
    assert 10 <= report.counts.rejected < 3000


async def test_an_existing_file_of_rejects_is_not_overwritten(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(1)])
    (tmp_path / "rejects.csv").write_text("rows to correct")

    async with service.client() as client:
        with pytest.raises(ConfigurationError, match=r"rejects\.csv exists"):
            settings = BackfillSettings(rejects=tmp_path / "rejects.csv")
            await backfill(client, path, settings=settings)


async def test_a_stopped_run_goes_on_at_its_checkpoint(service: Service, tmp_path: Path):
    rows = [recent(number, Total="" if number == 1200 else "5.00") for number in range(3000)]
    path = write_csv(tmp_path / "orders.csv", rows)

    async with service.client(outbox=tmp_path / "outbox.db") as client:
        first = await backfill(client, path, settings=BackfillSettings(max_rejects=1))
        second = await backfill(client, path, settings=BackfillSettings(resume=True))
        third = await backfill(client, path, settings=BackfillSettings(resume=True))

    assert first.stopped
    assert second.resumed_at == first.counts.rows
    assert first.counts.rows + second.counts.rows == 3000
    assert first.counts.accepted + second.counts.accepted == 2999
    assert not second.counts.repeats
    assert (third.resumed_at, third.counts.rows) == (3000, 0)


async def test_a_changed_file_is_not_resumed(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(1), recent(2)])

    async with service.client() as client:
        await backfill(client, path)
        write_csv(path, [recent(3), recent(4)])
        with pytest.raises(ConfigurationError, match="has changed since the checkpoint"):
            await backfill(client, path, settings=BackfillSettings(resume=True))


async def test_progress_ends_with_everything_done(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(number) for number in range(50)])
    snapshots: list[Progress] = []

    async with service.client() as client:
        await backfill(client, path, on_progress=snapshots.append)

    assert snapshots[-1].phase == "done"
    assert snapshots[-1].destinations["anytrack"].delivered == 50
    assert snapshots[-1].destinations["anytrack"].waiting == 0


async def test_an_unknown_file_is_refused_with_its_columns(service: Service, tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_text("Order,Sum\n1,2\n")

    async with service.client() as client:
        with pytest.raises(UnknownFormatError) as raised:
            await backfill(client, path)

    assert raised.value.columns == ("Order", "Sum")
