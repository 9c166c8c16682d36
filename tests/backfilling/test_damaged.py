"""Files that are damaged, cut off, or in a shape of their own: told by their names, not a crash."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import attrs
import pyarrow as arrow
import pytest
from pyarrow import parquet

from anytrack_async import ConfigurationError, FileMapping
from tests.backfilling.tables import csv_text, read, shopify_row

pytestmark = pytest.mark.asyncio

TEXT = csv_text([shopify_row(number) for number in range(1, 3000)]).encode()
SHOP = FileMapping(
    name="shop",
    columns={"order_id": "id", "timestamp": "at"},
    amounts="total",
    currency="EUR",
)


def zstandard(data: bytes) -> bytes:
    sink = arrow.BufferOutputStream()
    with arrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


def as_parquet(_: bytes) -> bytes:
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.table({"id": [*map(str, range(5000))]}), sink)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("compress", [gzip.compress, zstandard, as_parquet])
async def test_a_file_that_was_not_copied_to_its_end_is_told_by_its_name(
    compress: Callable[[bytes], bytes], tmp_path: Path
):
    path = tmp_path / "orders.bin"
    path.write_bytes(compress(TEXT)[:-40])

    with pytest.raises(OSError, match=r"orders\.bin is damaged"):
        await read(path)


async def test_damage_inside_a_compressed_file_is_told_by_its_name(tmp_path: Path):
    data = gzip.compress(TEXT)
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(data[:9000] + bytes(60) + data[9060:])

    with pytest.raises(OSError, match=r"orders\.csv\.gz is damaged"):
        await read(path)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard])
async def test_a_file_of_several_compressed_parts_is_read_whole(
    compress: Callable[[bytes], bytes], tmp_path: Path
):
    path = tmp_path / "orders.csv"
    path.write_bytes(compress(TEXT[:100_000]) + compress(TEXT[100_000:]))

    assert (await read(path)).counts.accepted == 2999


async def test_a_json_object_over_several_lines_is_no_empty_file(tmp_path: Path):
    path = tmp_path / "orders.json"
    path.write_text('{\n  "orders": [\n    {"id": 1}\n  ]\n}\n', encoding="utf-8")

    with pytest.raises(ConfigurationError, match="an object on each line, or an array"):
        await read(path)


WORKBOOK = io.BytesIO()
with zipfile.ZipFile(WORKBOOK, "w") as archive:
    archive.writestr("[Content_Types].xml", "<x/>")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (WORKBOOK.getvalue(), "an Excel workbook: save its sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "an Excel workbook"),
        (b"PK\x03\x04" + bytes(100), "an archive: unpack it"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"SQLite format 3\x00" + bytes(100), "a database: name it with --database"),
        (b"\n<!DOCTYPE html><html>Log in", "a web page, perhaps of a log-in"),
        (gzip.compress(WORKBOOK.getvalue()), "an Excel workbook"),
    ],
    ids=range(7),  # the bytes have the time in them
)
async def test_a_file_that_is_no_table_is_told_so(content: bytes, kind: str, tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=f"^orders.csv is {kind}"):
        await read(path)


async def test_a_bad_value_of_json_costs_its_field_or_row_and_not_the_file(tmp_path: Path):
    row = '{"id": %s, "at": "2026-05-01T10:00:00Z", "total": %s}'
    lines = [("1", "NaN"), ('"\\ud800"', "1"), ("9" * 5000, "1"), ("[" * 9000, "1"), ("5", "2.5")]
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join(row % line for line in lines), encoding="utf-8")
    nested = tmp_path / "nested.json"
    nested.write_text("[" * 100_000, encoding="utf-8")

    result = await read(path, mapping=SHOP)

    assert [str(conversion.order_id) for conversion in result.conversions] == ["5"]
    assert sorted(reject.line for reject in result.rejects) == [1, 2, 3, 4]
    with pytest.raises(ConfigurationError, match="is nested too deeply"):
        await read(nested, mapping=SHOP)


async def test_a_value_of_json_that_is_no_text_costs_its_row(tmp_path: Path):
    mapping = attrs.evolve(SHOP, columns={**SHOP.columns, "currency": "code", "zone": "tz"})
    row = '{"id": %s, "at": "2026-05-01T10:00:00Z", "total": 1, "code": %s, "tz": %s}'
    lines = [
        ("1", '["EUR"]', "1"),
        ('{"a": 1}', '"EUR"', "1"),
        ("3", "true", "[]"),
        ("4", "null", "[1]"),
    ]
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join(row % line for line in lines), encoding="utf-8")
    own = tmp_path / "own.jsonl"
    record = '{"conversion_type": "sale", "revenue": 1, "currency": ["EUR"], "order_id": "1", %s}'
    own.write_text(record % '"timestamp": "2026-05-01T10:00:00Z"', encoding="utf-8")

    result, own_result = await read(path, mapping=mapping), await read(own)

    assert [str(conversion.order_id) for conversion in result.conversions] == ["4"]
    assert [len(result.rejects), len(own_result.rejects)] == [3, 1]


async def test_single_precision_of_parquet_keeps_its_digits(tmp_path: Path):
    path = tmp_path / "orders.parquet"
    table = arrow.table(
        {
            "id": ["1", "2", "3"],
            "at": ["2026-05-01T10:00Z"] * 3,
            "total": arrow.array([49.9, 0.1, None], arrow.float32()),
        }
    )
    parquet.write_table(table, path)

    result = await read(path, mapping=SHOP)

    assert [str(sale.revenue) for sale in result.conversions] == ["49.9", "0.1"]
    assert len(result.rejects) == 1


async def test_text_of_parquet_that_is_not_marked_as_text_is_read(tmp_path: Path):
    path = tmp_path / "orders.parquet"
    row = {"id": [b"1"], "at": [b"2026-05-01T10:00Z"], "total": [b"49.90"]}
    parquet.write_table(arrow.table(row), path)

    (sale,) = (await read(path, mapping=SHOP)).conversions

    assert (sale.event_id, str(sale.revenue)) == ("sale:1", "49.90")


async def test_a_quotation_mark_that_is_not_closed_is_told_where_it_stands(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_text(
        'id,at,total\n1,2026-05-01T10:00Z,5\n2,"2026-05-01T10:00Z,5\n3,2026-05-01T10:00Z,5\n',
        encoding="utf-8",
    )

    result = await read(path, mapping=SHOP)

    assert [sale.event_id for sale in result.conversions] == ["sale:1"]
    assert [reject.line for reject in result.rejects] == [3]
    assert "not closed, so that all rows behind it" in result.rejects[0].reason


async def test_a_path_into_json_is_named_in_the_reject(tmp_path: Path):
    path = tmp_path / "orders.jsonl"
    path.write_text('{"id": 1, "total": 5, "paid": {"at": [[1]]}}\n', "utf-8")
    own = FileMapping(
        name="shop",
        columns={"order_id": "id", "timestamp": "paid.at"},
        amounts="total",
        currency="EUR",
    )

    (reject,) = (await read(path, mapping=own)).rejects

    assert reject.column == "paid.at"


async def test_utf_32_is_recognised_by_its_mark(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_bytes("id,at,total\nÄ1,2026-05-01T10:00Z,5\n".encode("utf-32"))

    (sale,) = (await read(path, mapping=SHOP)).conversions

    assert sale.event_id == "sale:Ä1"
