"""Exports are complete or absent, use flat memory, and are safe to open in a spreadsheet."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import stat
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.client import export as module
from anytrack_async.client.export import export
from anytrack_async.client.export_formats import (
    COLUMNS,
    CSV_COLUMNS,
    DEFAULT_COLUMNS,
    FORMATS,
    Format,
)
from anytrack_async.destinations.anytrack.api.base import read_records
from anytrack_async.destinations.anytrack.api.conversions import read_conversion
from anytrack_async.errors import ConfigurationError, InvalidConversionError
from anytrack_async.models.answers import RecordedConversion
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.customer import Customer
from anytrack_async.models.plain import to_conversion
from tests.client.service import recorded_as
from tests.destinations.anytrack.api.doubles import json_records, record

pytestmark = pytest.mark.asyncio

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FULL = Conversion.sale(
    id="c1",
    click_id="k1",
    revenue="49.90",
    currency="EUR",
    source="google",
    campaign_id="42",
    ad_id="7",
    timestamp=AT,
    ip_address="203.0.113.9",
    user_agent="Mozilla/5.0",
    page_url="https://example.com/",
    order_id="1001",
    sub_ids={"s1": "a"},
    custom_data={"plan": "pro"},
    customer=Customer(email="jane@example.com"),
)
BARE = Conversion.custom("Subscribed", event_id="e2", timestamp=AT)


async def source(*conversions: Conversion) -> AsyncGenerator[Conversion, None]:
    for conversion in conversions:
        yield conversion


async def repeated(times: int) -> AsyncGenerator[Conversion, None]:
    for _ in range(times):
        yield FULL


async def rows_of(path: Path) -> list[list[str]]:
    text = (await anyio.Path(path).read_bytes()).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def files_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# CSV


async def test_csv_columns_are_in_their_order(tmp_path: Path):
    path = tmp_path / "out.csv"

    assert await export(source(FULL, BARE), path) == 2

    assert await rows_of(path) == [
        [
            *("id", "click_id", "conversion_type", "revenue", "currency"),
            *("source", "campaign_id", "ad_id", "timestamp", "ip_address"),
            *("order_id", "event_id", "clicks", "consent"),
        ],
        [
            *("c1", "k1", "sale", "49.90", "EUR"),
            *("google", "42", "7", "2026-01-02T03:04:05+00:00", "203.0.113.9"),
            *("1001", "sale:1001", "", ""),
        ],
        [
            "",
            "",
            "custom",
            "0",
            "USD",
            "",
            "",
            "",
            "2026-01-02T03:04:05+00:00",
            "",
            "",
            "e2",
            "",
            "",
        ],
    ]


async def test_without_conversions_a_csv_file_has_its_columns(tmp_path: Path):
    assert await export(source(), tmp_path / "out.csv") == 0

    assert await rows_of(tmp_path / "out.csv") == [list(DEFAULT_COLUMNS)]


@pytest.mark.parametrize("first", "=+-@")
async def test_cells_that_a_spreadsheet_would_run_are_defused(first: str, tmp_path: Path):
    text = first + "cmd|' /C calc'!A0"

    await export(source(Conversion.lead(source=text, campaign_id="1-1")), tmp_path / "out.csv")

    _, row = await rows_of(tmp_path / "out.csv")
    assert (row[5], row[6]) == ("'" + text, "1-1")


INVISIBLE = ["", " ", "\u3000", "\xa0", "\u200b", "\ufeff", "\x00", "\t", "\r\n", "\xad \u200e"]


@pytest.mark.parametrize("sign", "=+-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻−")
async def test_full_width_and_hidden_formulas_are_defused(sign: str, tmp_path: Path):
    texts = [f"{before}{sign}1+1" for before in INVISIBLE]
    recorded = [
        RecordedConversion(conversion_type=ConversionType.LEAD, source=text) for text in texts
    ]

    await export(source(*recorded), tmp_path / "out.csv")

    _, *rows = await rows_of(tmp_path / "out.csv")
    assert [row[5] for row in rows] == [f"'{text}" for text in texts]


async def test_signs_within_a_cell_are_no_formula(tmp_path: Path):
    texts = ["1=1", "a＝b", "'1=1", "(=1)", "é=1", "x\t=1", "王＠家", "spring sale"]
    conversions = [Conversion.lead(source=text) for text in texts]

    await export(source(*conversions), tmp_path / "out.csv")

    _, *rows = await rows_of(tmp_path / "out.csv")
    assert [row[5] for row in rows] == [conversion.source for conversion in conversions]


async def test_separators_and_lines_in_a_cell_stay_in_it(tmp_path: Path):
    text = 'a,"b";é 🏳️‍🌈'

    await export(source(Conversion.lead(source=text)), tmp_path / "out.csv")

    assert (await rows_of(tmp_path / "out.csv"))[1][5] == text


async def test_the_header_is_written_once(tmp_path: Path):
    path = tmp_path / "out.csv"

    assert await export(repeated(2_500), path) == 2_500

    rows = await rows_of(path)
    assert len(rows) == 2_501
    assert rows.count(list(DEFAULT_COLUMNS)) == 1


# JSON Lines


async def test_json_lines_leave_out_empty_fields(tmp_path: Path):
    path = tmp_path / "out.jsonl"

    assert await export(source(FULL, BARE), path) == 2

    lines = (await anyio.Path(path).read_bytes()).splitlines()
    assert [orjson.loads(line) for line in lines] == [
        {
            "id": "c1",
            "click_id": "k1",
            "conversion_type": "sale",
            "revenue": "49.90",
            "currency": "EUR",
            "source": "google",
            "campaign_id": "42",
            "ad_id": "7",
            "timestamp": "2026-01-02T03:04:05+00:00",
            "ip_address": "203.0.113.9",
            "event_id": "sale:1001",
            "order_id": "1001",
            "user_agent": "Mozilla/5.0",
            "page_url": "https://example.com/",
            "sub_ids": {"s1": "a"},
            "custom_data": {"plan": "pro"},
        },
        {
            "conversion_type": "custom",
            "revenue": "0",
            "currency": "USD",
            "timestamp": "2026-01-02T03:04:05+00:00",
            "event_id": "e2",
            "event_name": "Subscribed",
        },
    ]


async def test_without_conversions_json_lines_are_empty(tmp_path: Path):
    assert await export(source(), tmp_path / "out.jsonl") == 0

    assert await anyio.Path(tmp_path / "out.jsonl").read_bytes() == b""


# What AnyTrack has


ODD = RecordedConversion(
    conversion_type=ConversionType.CUSTOM,
    id="i" * 300,
    event_id="e1",
    event_name="x" * 60,
    revenue=Decimal("-49.90"),
    currency="USDT",
    timestamp=AT,
    ip_address="10.0.0.7",
    click_id="k\x00\r" * 700,
    custom_data={"n": 2**70, "nan": float("nan"), "deep": [[["é"]]]},
)


async def test_what_could_not_be_sent_is_exported_as_it_is(tmp_path: Path):
    await export(source(ODD, FULL), tmp_path / "out.csv")
    await export(source(ODD, FULL), tmp_path / "out.jsonl")

    _, odd, _ = await rows_of(tmp_path / "out.csv")
    assert (odd[0], odd[1], odd[3], odd[4]) == (ODD.id, ODD.click_id, "-49.90", "USDT")
    assert odd[CSV_COLUMNS.index("ip_address")] == "10.0.0.7"
    line, _ = (await anyio.Path(tmp_path / "out.jsonl").read_bytes()).splitlines()
    record = json.loads(line, parse_constant=pytest.fail)
    assert (record["id"], record["event_name"]) == (ODD.id, "x" * 60)
    assert (record["revenue"], record["click_id"]) == ("-49.90", ODD.click_id)
    assert record["custom_data"] == {"n": 2**70, "nan": None, "deep": [[["é"]]]}


async def test_an_exported_conversion_can_be_read_again(tmp_path: Path):
    recorded = recorded_as(FULL, customer=None)
    await export(source(recorded, ODD), tmp_path / "out.jsonl")

    good, odd = (await anyio.Path(tmp_path / "out.jsonl").read_bytes()).splitlines()
    assert to_conversion(orjson.loads(good)) == recorded == recorded.to_conversion()
    with pytest.raises(InvalidConversionError, match=r"^revenue must not be negative"):
        to_conversion(orjson.loads(odd))


@given(st.lists(json_records.map(lambda fields: record(**fields)), max_size=3))
async def test_whatever_can_be_read_can_be_exported(records: list[dict[str, Any]]):
    rows = read_records(records, read_conversion)

    lines = FORMATS["jsonl"].formatter(COLUMNS)(rows, True).splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == [row.event_id for row in rows]
    text = FORMATS["csv"].formatter(CSV_COLUMNS)(rows, True).decode()
    assert len(list(csv.reader(io.StringIO(text, newline="")))) == 1 + len(rows)


# Formats


async def test_the_format_may_be_given(tmp_path: Path):
    await export(source(FULL), tmp_path / "out.txt", "csv")

    assert (await rows_of(tmp_path / "out.txt"))[0] == list(DEFAULT_COLUMNS)


async def test_the_suffix_may_be_in_capitals(tmp_path: Path):
    assert await export(source(FULL), str(tmp_path / "OUT.CSV")) == 1


@pytest.mark.parametrize(("name", "quoted"), [("out.xlsx", "'xlsx'"), ("out", "'nothing'")])
async def test_an_unknown_format_is_refused_and_the_known_ones_are_listed(
    name: str, quoted: str, tmp_path: Path
):
    with pytest.raises(
        ConfigurationError, match=f"cannot export as {quoted}; supported formats: csv, jsonl"
    ):
        await export(source(FULL), tmp_path / name)
    assert files_in(tmp_path) == []


# Whole or not at all


async def test_no_temporary_file_is_left(tmp_path: Path):
    await export(source(FULL), tmp_path / "out.csv")

    assert files_in(tmp_path) == ["out.csv"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_only_the_owner_may_read_the_file(tmp_path: Path):
    await export(source(FULL), tmp_path / "out.csv")

    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600


async def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    old_contents = []

    async def watched() -> AsyncGenerator[Conversion, None]:
        for _ in range(1_500):
            yield FULL
        old_contents.append(await anyio.Path(path).read_text())

    await export(watched(), path)

    assert old_contents == ["old"]
    assert len(await rows_of(path)) == 1_501


async def test_an_export_is_on_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, steps = tmp_path / "out.csv", []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        fsync(descriptor)
        steps.append(("fsync", size))

    def watched_replace(part: Path, target: Path) -> Path:
        steps.append(("rename", part.stat().st_size))
        return replace(part, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)

    await export(repeated(1_500), path)

    size = path.stat().st_size
    assert size > 0
    assert steps == [("fsync", size), ("rename", size)]


class BrokenError(Exception):
    pass


async def breaking(closed: list[bool], before: int) -> AsyncGenerator[Conversion, None]:
    try:
        for _ in range(before):
            yield FULL
        raise BrokenError
    finally:
        closed.append(True)


@pytest.mark.parametrize("before", [0, 1, 1_500])
async def test_a_failing_source_changes_no_file(before: int, tmp_path: Path):
    path, closed = tmp_path / "out.csv", []
    path.write_text("old")

    with pytest.raises(BrokenError):
        await export(breaking(closed, before), path)

    assert files_in(tmp_path) == ["out.csv"]
    assert path.read_text() == "old"
    assert closed == [True]


async def test_a_cancelled_export_leaves_no_file(tmp_path: Path):
    reached, closed = anyio.Event(), anyio.Event()

    async def endless() -> AsyncGenerator[Conversion, None]:
        try:
            for _ in range(1_200):
                yield FULL
            reached.set()
            await anyio.sleep_forever()
        finally:
            closed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(export, endless(), tmp_path / "out.csv")
        await reached.wait()
        assert len(files_in(tmp_path)) == 1
        tasks.cancel_scope.cancel()

    assert files_in(tmp_path) == []
    assert closed.is_set()


class Blocked:
    """A method of the unfinished file whose thread stops before or after the work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, before: bool) -> None:
        self.entered = anyio.Event()
        self.released = threading.Event()
        self._method = getattr(module._UnfinishedFile, name)
        self._before = before
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(module._UnfinishedFile, name, lambda *args: self._run(*args))

    def _run(self, *args: Any) -> None:
        if not self._before:
            self._method(*args)
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self.released.wait(10)
        if self._before:
            self._method(*args)


def run_until_threads_end(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *main* in an event loop of its own, then wait for the threads that it has left."""
    threads = set(threading.enumerate())
    asyncio.run(main())
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("step", ["create", "append", "publish", "discard"])
async def test_an_export_that_asyncio_cancels_in_a_thread_leaves_no_temporary_file(
    step: str, before: bool, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def cancel_in_step() -> None:
        blocked = Blocked(monkeypatch, step, before)
        rows = breaking([], 1_500) if step == "discard" else repeated(1_500)
        task = asyncio.create_task(export(rows, tmp_path / "out.csv"))
        await blocked.entered.wait()
        for _ in range(times):
            task.cancel()
            await anyio.wait_all_tasks_blocked()
        blocked.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    await anyio.to_thread.run_sync(run_until_threads_end, cancel_in_step)

    published = step == "publish" and not before
    assert files_in(tmp_path) == (["out.csv"] if published else [])


@pytest.mark.parametrize("seed", range(4))
async def test_an_export_that_is_cancelled_at_any_step_leaves_no_temporary_file(
    seed: int, tmp_path: Path
):
    random = Random(seed)

    async def export_in(scope: anyio.CancelScope, path: Path) -> None:
        with scope:
            await export(repeated(random.choice([0, 1, 1_500])), path)

    async def cancel_many() -> None:
        for number in range(100):
            scope = anyio.CancelScope()
            task = asyncio.create_task(export_in(scope, tmp_path / f"{number}.csv"))
            for _ in range(random.choice([1, 1, 2])):
                for _ in range(random.randrange(30)):
                    await anyio.lowlevel.checkpoint()
                random.choice([task, scope]).cancel()
            await asyncio.wait([task])

    await anyio.to_thread.run_sync(run_until_threads_end, cancel_many)

    assert [name for name in files_in(tmp_path) if name.startswith(".")] == []


async def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    closed: list[bool] = []
    monkeypatch.setattr(module._UnfinishedFile, "append", full)

    with pytest.raises(OSError, match="No space left"):
        await export(breaking(closed, 1_500), tmp_path / "out.csv")

    assert files_in(tmp_path) == []
    assert closed == [True]


async def test_a_missing_folder_is_reported_before_the_first_read(tmp_path: Path):
    closed: list[bool] = []

    with pytest.raises(FileNotFoundError):
        await export(breaking(closed, 1), tmp_path / "missing" / "out.csv")

    assert closed == []


# Flat memory, free loop


async def test_at_most_one_slice_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    lines = FORMATS["csv"].formatter(CSV_COLUMNS)

    def measured(rows: Any, first: bool) -> bytes:
        sizes.append(len(rows))
        return lines(rows, first)

    monkeypatch.setattr(module, "FORMATS", {"csv": Format(formatter=lambda _: measured)})

    await export(repeated(3_100), tmp_path / "out.csv")

    assert sizes == [1_000, 1_000, 1_000, 100]


async def test_formatting_and_writing_happen_in_worker_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    threads = set()
    append = module._UnfinishedFile.append

    def watched(*args: Any) -> None:
        threads.add(threading.get_ident())
        append(*args)

    monkeypatch.setattr(module._UnfinishedFile, "append", watched)

    await export(repeated(1_500), tmp_path / "out.csv")

    assert threads
    assert threading.get_ident() not in threads
