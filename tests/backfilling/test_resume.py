"""`--resume`, and second runs: several files, formats, rejected rows, and a full outbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from anytrack_async import (
    BackfillSettings,
    ConfigurationError,
    DeliverySettings,
    MemoryOutbox,
    QueueFullError,
    UndeliveredError,
    backfill,
)
from tests.backfilling.tables import SHOPIFY, shopify_row, write_csv
from tests.client.service import Service

pytestmark = pytest.mark.asyncio

RESUME = BackfillSettings(resume=True)


def recent(number: int, **changes: str) -> dict[str, str]:
    paid = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S +0000")
    return shopify_row(number, Paid_at=paid, **changes)


@pytest.fixture
def service() -> Service:
    return Service()


def header_only(path: Path) -> Path:
    return write_csv(path, [])


def without_bytes(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("make_empty", [header_only, without_bytes])
async def test_an_empty_file_before_others_is_a_file_without_rows(
    service: Service, tmp_path: Path, make_empty
):
    empty = make_empty(tmp_path / "1.csv")
    full = write_csv(tmp_path / "2.csv", [recent(1), recent(2)])
    files = str(tmp_path / "*.csv")

    async with service.client() as client:
        first = await backfill(client, files)
        resumed = await backfill(client, files, settings=RESUME)
        again = await backfill(client, files)
        write_csv(full, [recent(3), recent(4)])
        with pytest.raises(ConfigurationError, match=r"2\.csv has changed"):
            await backfill(client, files, settings=RESUME)
        write_csv(full, [recent(1), recent(2)])
        write_csv(empty, [recent(5)])
        with pytest.raises(ConfigurationError, match=r"1\.csv has changed"):
            await backfill(client, files, settings=RESUME)

    assert [info.name for info in first.sources] == ["1.csv", "2.csv"]
    assert (first.counts.accepted, resumed.resumed_at, again.unchanged) == (2, 2, True)


async def test_many_small_files_are_resumed(service: Service, tmp_path: Path):
    for number in range(4):
        write_csv(tmp_path / f"{number}.csv", [recent(number), recent(number + 10, Total="")])
    files = str(tmp_path / "*.csv")

    async with service.client() as client:
        first = await backfill(client, files, settings=BackfillSettings(max_rejects=2))
        rest = await backfill(client, files, settings=RESUME)

    assert first.stopped
    assert rest.resumed_at == first.counts.rows == 4
    assert rest.counts.rows == 4
    assert len(service.requests) == 4


@pytest.mark.parametrize("text", ["", "[]", "\ufeff\n"])
async def test_a_single_empty_file_is_an_error(service: Service, tmp_path: Path, text: str):
    path = tmp_path / "orders.json"
    path.write_text(text)

    async with service.client() as client:
        with pytest.raises(ConfigurationError, match=r"orders\.json"):
            await backfill(client, path)


async def test_the_end_of_a_large_parquet_file_counts(service: Service, tmp_path: Path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "orders.parquet"

    def write(last: str) -> int:
        rows = [recent(number, Notes="") for number in range(3)]
        rows[2]["Email"] = last
        columns = {name: [row.get(name, "") for row in rows] for name in SHOPIFY}
        columns["Notes"] = ["x" * 300_000, "y" * 300_000, last]
        table = arrow.table(columns)
        parquet.write_table(table, path, compression=None, use_dictionary=False)
        return path.stat().st_size

    size = write("a@example.com")
    async with service.client() as client:
        await backfill(client, path)
        again = await backfill(client, path)
        assert write("b@example.com") == size
        with pytest.raises(ConfigurationError, match="has changed since the checkpoint"):
            await backfill(client, path, settings=RESUME)
        changed = await backfill(client, path)

    assert (again.unchanged, changed.unchanged) == (True, False)


async def test_the_progress_in_a_parquet_file_is_that_of_its_rows(tmp_path: Path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from anytrack_async.backfilling.reading import RowJob

    rows = [recent(number) for number in range(2000)]
    columns = {name: [row.get(name, "") for row in rows] for name in SHOPIFY}
    parquet.write_table(arrow.table(columns), tmp_path / "orders.parquet")

    job = RowJob(tmp_path / "orders.parquet", BackfillSettings(dry_run=True))
    fractions = [block.fraction for block in job.blocks()]

    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.5, 1.0)


async def test_a_resumed_run_is_not_complete_if_rows_were_rejected_before(
    service: Service, tmp_path: Path
):
    path = write_csv(tmp_path / "orders.csv", [recent(1), recent(2, Total="")])

    async with service.client() as client:
        await backfill(client, path)
        resumed = await backfill(client, path, settings=RESUME)

    assert (resumed.counts.rows, resumed.resumed_at, resumed.rejected_before) == (0, 2, 1)
    assert not resumed.complete


async def test_dead_letters_of_the_runs_before_count_until_they_are_solved(
    service: Service, tmp_path: Path
):
    path = write_csv(tmp_path / "orders.csv", [shopify_row(2)])
    settings = BackfillSettings(too_old="dead")
    resume = BackfillSettings(too_old="dead", resume=True)

    async with service.client(sinks=[service.meta()]) as client:
        await backfill(client, path, settings=settings)
        resumed = await backfill(client, path, settings=resume)
        await client.discard("meta", ["sale:5000002"])
        solved = await backfill(client, path, settings=resume)

    assert (resumed.destinations["meta"].dead, resumed.complete) == (1, False)
    assert (solved.destinations["meta"].dead, solved.complete) == (0, True)


async def test_a_full_outbox_stops_the_run_which_can_be_resumed(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(number) for number in range(1400)])
    outbox = MemoryOutbox(capacity=600)
    service.refuse(401)

    impatient = DeliverySettings(accept_within=0.01, drain=0.1)
    with pytest.raises(UndeliveredError):  # it is in memory, and its lane is held
        async with service.client(outbox=outbox, delivery=impatient) as client:
            with pytest.raises(QueueFullError):
                await backfill(client, path)
    service.answers.clear()
    async with service.client(outbox=outbox, delivery=DeliverySettings(drain=5)) as client:
        report = await backfill(client, path, settings=RESUME)

    assert report.complete
    bodies = [body["custom_data"]["event_id"] for body in service.bodies()]
    assert {*bodies} == {f"sale:{5_000_000 + number}" for number in range(1400)}


async def test_a_block_is_divided_for_a_small_outbox(service: Service, tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [recent(number) for number in range(300)])

    async with service.client(outbox=MemoryOutbox(capacity=100)) as client:
        report = await backfill(client, path)

    assert report.counts.accepted == 300
    assert len(service.requests) == 300
