"""Exports are complete or absent, use flat memory, and are safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.client.export import export
from anytrack_async.client.export_formats import (
    COLUMNS,
    CSV_COLUMNS,
    DEFAULT_COLUMNS,
    FORMATS,
)
from anytrack_async.destinations.anytrack.api.base import read_records
from anytrack_async.destinations.anytrack.api.conversions import read_conversion
from anytrack_async.errors import ConfigurationError, InvalidConversionError
from anytrack_async.models.answers import RecordedConversion
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.plain import to_conversion
from tests.client.exports import AT, FULL, files_in, repeated, rows_of, source
from tests.client.service import recorded_as
from tests.destinations.anytrack.api.doubles import json_records, record

pytestmark = pytest.mark.asyncio

BARE = Conversion.custom("Subscribed", event_id="e2", timestamp=AT)


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
