"""Sources: formats, compression, encodings and delimiters, found in the files and shown."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from anytrack_async import (
    BackfillSettings,
    ConfigurationError,
    FileMapping,
    SqlQuery,
    read_conversions,
)
from anytrack_async.backfilling.query import connector
from anytrack_async.backfilling.sources import open_source
from tests.backfilling.tables import Result, csv_text, read, shopify_row, write_csv

pytestmark = pytest.mark.asyncio

ROWS = [shopify_row(number) for number in range(1, 4)]
IDS = ["sale:5000001", "sale:5000002", "sale:5000003"]

MAPPING = FileMapping(
    name="own",
    columns={"order_id": "order", "timestamp": "time", "customer.email": "customer.email"},
    amounts="total",
    currency="EUR",
)
RECORDS: list[dict[str, Any]] = [
    {
        "order": number,
        "time": "2026-05-01T10:00:00Z",
        "total": 49.9,
        "customer": {"email": f"{number}@x.de"},
    }
    for number in range(1, 2501)
]


def ids(result: Result) -> list[str]:
    return [conversion.event_id for conversion in result.conversions]


# CSV


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_encoding_and_delimiter_are_found(tmp_path: Path, encoding: str, delimiter: str):
    path = tmp_path / "orders.csv"
    rows = [*ROWS, shopify_row(4, Billing_Name="Zoë Müller")]
    path.write_bytes(csv_text(rows, delimiter=delimiter).encode(encoding))

    reader = read_conversions(path)
    conversions = [row async for row in reader]

    assert len(conversions) == 4
    assert conversions[3].customer.last_name == ("Müller",)  # type: ignore[union-attr]
    (info,) = reader.sources
    assert (info.encoding, info.delimiter, [*info.guessed]) == (
        encoding,
        delimiter,
        ["encoding", "delimiter"],
    )


async def test_a_decimal_comma_is_no_delimiter(tmp_path: Path):
    amounts = {"Total": "1.234,50", "Subtotal": "1,00", "Lineitem price": "1,00"}
    rows = [shopify_row(number, **amounts) for number in range(3)]
    path = write_csv(tmp_path / "orders.csv", rows, delimiter=";")

    result = await read(path, settings=BackfillSettings(decimal=","))

    assert [str(conversion.revenue) for conversion in result.conversions] == ["1234.50"] * 3


async def test_a_cell_with_line_breaks_counts_as_its_lines(tmp_path: Path):
    rows = [
        shopify_row(1, Note_Attributes="a: 1\nb: 2\r\nc: 3"),
        shopify_row(2, Total="x"),
        shopify_row(3, Total="y"),
    ]
    path = write_csv(tmp_path / "orders.csv", rows)

    result = await read(path)

    assert [reject.line for reject in result.rejects] == [5, 6]


async def test_lines_are_counted_over_blank_ones(tmp_path: Path):
    text = csv_text([shopify_row(1), shopify_row(2, Total="x")])
    path = tmp_path / "orders.csv"
    path.write_text(text.replace("#2", "\r\n#2"), encoding="utf-8", newline="")

    result = await read(path)

    assert [reject.line for reject in result.rejects] == [4]


async def test_a_line_states_the_delimiter_as_excel_writes_it(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_text("sep=;\r\n" + csv_text([shopify_row(1, Total="x")], delimiter=";"))

    result = await read(path)

    assert (result.presets, result.rejects[0].line) == (["shopify"], 3)


async def test_rows_with_too_many_cells_are_rejected_and_short_ones_filled(tmp_path: Path):
    text = csv_text(ROWS).splitlines()
    text[2] += ",more"
    text[3] = text[3].rstrip(",")
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(text))

    result = await read(path)

    assert ids(result) == [IDS[0], IDS[2]]
    assert result.reasons[0].startswith("orders.csv, line 3: has 20 cells, but the header has 19")


async def test_bytes_of_another_encoding_are_rejected_where_they_stand(tmp_path: Path):
    # So far behind the start that the encoding is taken for UTF-8.
    rows = [shopify_row(number) for number in range(2500)]
    rows += [shopify_row(9001, Billing_Name="Zoë"), shopify_row(9002)]
    path = tmp_path / "orders.csv"
    path.write_bytes(csv_text(rows).encode("cp1252"))

    result = await read(path)
    stated = await read(path, settings=BackfillSettings(encoding="cp1252"))

    assert len(result.conversions) == 2501
    (reason,) = result.reasons
    assert reason.startswith("orders.csv, line 2502: is not text in utf-8: state the file's encod")
    assert not stated.rejects


async def test_one_row_of_another_encoding_changes_no_other_row(tmp_path: Path):
    rows = [shopify_row(number, Billing_Name="Zoë Müller") for number in range(3)]
    foreign = csv_text([shopify_row(9, Billing_Name="Zoë")]).splitlines()[1].encode("cp1252")
    path = tmp_path / "orders.csv"
    path.write_bytes(csv_text(rows).encode() + foreign + b"\r\n" + b"\x00" * 800)

    result = await read(path)

    names = {conversion.customer.first_name for conversion in result.conversions}  # type: ignore[union-attr]
    assert (len(result.conversions), names) == (3, {("Zoë",)})
    assert "line 5: is not text in utf-8" in result.reasons[0]


async def test_an_endless_cell_costs_no_other_row_than_its_own(tmp_path: Path):
    rows = [ROWS[0], shopify_row(2, Note_Attributes="x" * 200_000), ROWS[2]]
    path = write_csv(tmp_path / "orders.csv", rows)

    result = await read(path)

    assert ids(result) == [IDS[0], IDS[2]]
    assert "line 3: is not CSV (field larger" in result.reasons[0]


# Compression, several files, standard input


async def test_compressed_files_are_read_whatever_their_names(tmp_path: Path):
    data = csv_text(ROWS).encode()
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(data))
    (tmp_path / "c.csv").write_bytes(bz2.compress(data))
    (tmp_path / "d.csv").write_bytes(lzma.compress(data))
    with arrow.CompressedOutputStream(str(tmp_path / "b.zst"), "zstd") as file:
        file.write(data)

    for name in ("a.csv.gz", "b.zst", "c.csv", "d.csv"):
        assert ids(await read(tmp_path / name)) == IDS


async def test_patterns_are_read_in_the_order_of_names(tmp_path: Path):
    for number, row in zip((2, 1, 3), (ROWS[1], ROWS[0], ROWS[2]), strict=True):
        write_csv(tmp_path / f"orders-{number}.csv", [row])

    assert ids(await read(str(tmp_path / "orders-*.csv"))) == IDS
    assert ids(await read([tmp_path / "orders-3.csv", tmp_path / "orders-1.csv"])) == [
        IDS[2],
        IDS[0],
    ]
    with pytest.raises(ConfigurationError, match="no file matches"):
        await read(str(tmp_path / "none-*.csv"))


async def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch):
    class Stdin:
        buffer = io.BytesIO(csv_text(ROWS).encode())

    monkeypatch.setattr(sys, "stdin", Stdin)

    assert ids(await read("-")) == IDS


# JSON


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("is_array", [False, True], ids=["lines", "array"])
async def test_records_of_json_are_read(
    tmp_path: Path, is_array: bool, compress: Callable[[bytes], bytes]
):
    lines = "\n".join(map(json.dumps, RECORDS))
    text = json.dumps(RECORDS, indent=1) if is_array else lines
    path = tmp_path / "records.json"
    path.write_bytes(compress(text.encode()))

    result = await read(path, mapping=MAPPING)

    assert result.formats == ["json" if is_array else "jsonl"]
    assert ids(result) == [f"sale:{number}" for number in range(1, 2501)]
    assert result.conversions[6].customer.email == ("7@x.de",)  # type: ignore[union-attr]


async def test_bad_lines_of_json_are_rejected_with_their_numbers(tmp_path: Path):
    lines = [json.dumps(RECORDS[0]), '{"order": ', "", "[1]", json.dumps(RECORDS[1])]
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(lines))

    result = await read(path, mapping=MAPPING)

    assert ids(result) == ["sale:1", "sale:2"]
    assert [reject.line for reject in result.rejects] == [2, 4]
    assert "must be an object, not list" in result.reasons[1]


async def test_a_record_may_have_keys_that_the_first_ones_have_not(tmp_path: Path):
    records = [*RECORDS[:100], {**RECORDS[100], "extra": 1}, {"order": 7}]
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))

    result = await read(path, mapping=MAPPING)

    assert len(result.conversions) == 101
    assert "revenue is missing" in result.reasons[0]


async def test_an_array_that_breaks_off_is_told(tmp_path: Path):
    path = tmp_path / "records.json"
    path.write_text(json.dumps(RECORDS, indent=1)[:-40])

    result = await read(path, mapping=MAPPING)

    assert len(result.conversions) == 2499
    assert len(result.rejects) == 1
    assert "is not JSON" in result.reasons[0]


# Parquet, Arrow, SQL


def table() -> Any:
    flat = [{**record, "customer": None, "customer.email": "a@x.de"} for record in RECORDS]
    return arrow.Table.from_pylist(flat)


async def test_parquet_and_arrow_are_read(tmp_path: Path):
    parquet.write_table(table(), tmp_path / "a.parquet", row_group_size=700)
    with arrow.ipc.new_file(str(tmp_path / "b.arrow"), table().schema) as writer:
        writer.write_table(table())
    with arrow.ipc.new_stream(str(tmp_path / "c.arrows"), table().schema) as writer:
        writer.write_table(table())
    (tmp_path / "d.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))

    for name in ("a.parquet", "b.arrow", "c.arrows", "d.parquet.gz"):
        result = await read(tmp_path / name, mapping=MAPPING)
        assert len(result.conversions) == 2500, name
        assert (ids(result)[-1], result.rejects) == ("sale:2500", [])


async def test_without_pyarrow_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parquet.write_table(table(), tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ConfigurationError, match=r"anytrack_async\[parquet\]"):
        await read(tmp_path / "a.parquet", mapping=MAPPING)


async def test_a_query_is_read_in_the_thread_that_opens_the_connection(tmp_path: Path):
    database = tmp_path / "shop.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute('CREATE TABLE orders ("order", time, total)')
        rows = [(number, "2026-05-01T10:00:00Z", 5.5) for number in range(1, 2501)]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    connection.close()
    sql = 'SELECT "order", time, total FROM orders WHERE total > ?'
    query = SqlQuery(sql=sql, parameters=(1,), connect=connector(f"sqlite:///{database}"))

    result = await read(query, mapping=MAPPING)

    assert (result.formats, len(result.conversions)) == (["sql"], 2500)
    with pytest.raises(ConfigurationError, match="database must be"):
        connector("mysql://user:secret@host/shop")


async def test_a_reader_that_stops_early_leaves_no_file_open(tmp_path: Path):
    path = write_csv(tmp_path / "orders.csv", [shopify_row(number) for number in range(5000)])
    rows = read_conversions(path).__aiter__()

    first = await anext(rows)
    await rows.aclose()  # waits for the thread; a file that stays open fails the test

    assert first is not None


async def test_reading_parquet_keeps_a_row_group_in_memory_and_not_the_file(tmp_path: Path):
    path = tmp_path / "orders.parquet"
    random = Random(7)
    with parquet.ParquetWriter(path, arrow.schema([("Note", arrow.string())])) as writer:
        for _ in range(40):
            rows = [random.randbytes(100).hex() for _ in range(1_000)]
            writer.write_table(arrow.table({"Note": rows}))
    pool = arrow.default_memory_pool()
    before, highest = pool.bytes_allocated(), 0

    with open_source(str(path), BackfillSettings(), None) as opened:
        for _ in opened.reader.blocks():
            highest = max(highest, pool.bytes_allocated() - before)

    assert highest < path.stat().st_size / 4
