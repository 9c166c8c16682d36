"""Which destinations a row is for: not AnyTrack, if it was exported from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytrack_async import AnyTrackClient, BackfillReport, BackfillSettings, SinkLimits, backfill
from anytrack_async.backfilling.inspection import inspect_source

pytestmark = pytest.mark.asyncio

LIMITS = {"anytrack": SinkLimits(), "meta": SinkLimits(max_age=7 * 86_400), "crm": SinkLimits()}
HEADER = "id,conversion_type,revenue,currency,timestamp,order_id,event_id\n"
OWN = "cv_1,sale,5,EUR,2020-05-01T10:00:00Z,,\n"
TRACKED = "cv_2,sale,5,EUR,2020-05-01T10:00:00Z,1001,sale:1001\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text(HEADER + OWN + TRACKED, encoding="utf-8")
    return path


async def dry_run(path: Path, names: tuple[str, ...] = (*LIMITS,), **options) -> BackfillReport:
    limits = {name: LIMITS[name] for name in names}
    settings = BackfillSettings(dry_run=True, **options)
    return await backfill(None, path, settings=settings, limits=limits)


async def test_what_anytrack_has_under_its_own_id_does_not_go_back_to_it(path):
    counts = (await dry_run(path)).counts

    assert (counts.accepted, counts.origin, counts.too_old) == (2, {"anytrack": 1}, {"meta": 2})


async def test_a_stated_destination_gets_it(path):
    counts = (await dry_run(path, to=("anytrack", "crm"))).counts

    assert (counts.accepted, counts.origin) == (2, {})


async def test_with_no_other_destination_it_is_left_out(path):
    counts = (await dry_run(path, names=("anytrack",))).counts

    assert (counts.accepted, counts.skipped) == (1, {"exported from AnyTrack, which has it": 1})


async def test_the_first_rows_show_it(path):
    inspection = await inspect_source(path, client=AnyTrackClient("key", "account", outbox=None))

    problems = [row.destinations["anytrack"].problem for row in inspection.rows]
    assert problems == ["skipped here: it was exported from AnyTrack, which has it", ""]
