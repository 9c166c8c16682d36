"""Files that differ from a preset's export in encoding, delimiter, order or rows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.backfilling.golden import (
    WITH_HEADER,
    Table,
    as_plain,
    expected_of,
    load,
    read_golden,
    report_of,
    to_text,
)
from tests.backfilling.tables import GOLDEN, read


def without_made_ids(plain: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*plain* without the event ids of rows that have no order id: they hash all filled cells."""
    return [
        {name: value for name, value in record.items() if ":row-" not in str(value)}
        for record in plain
    ]


# Variants


def shuffled(head: str, table: Table) -> bytes:
    order = list(range(len(table[0])))
    columns = table[0]
    # Columns with the same name stay in order, because the first value counts first.
    order.sort(key=lambda index: (columns.index(columns[index]) * 7919) % 1009)
    rows = [[row[index] for index in order] for row in table]
    return (head + to_text(rows)).encode()


def semicolons_in_utf16(head: str, table: Table) -> bytes:
    return (head + to_text(table, delimiter=";")).encode("utf-16")


def tabs_with_mark(head: str, table: Table) -> bytes:
    return (head + to_text(table, delimiter="\t", end="\n")).encode("utf-8-sig")


def further_columns(head: str, table: Table) -> bytes:
    first, *rows = table
    rows = [["", "own", *row] for row in rows]
    return (head + to_text([["Unnamed: 0", "My column", *first], *rows])).encode()


def trailing_delimiters(head: str, table: Table) -> bytes:
    return (head + to_text([[*row, ""] for row in table])).encode()


def blank_lines(head: str, table: Table) -> bytes:
    lines = to_text(table, end="\n")
    first = to_text(table[:1], end="\n")
    return (head + first + "\n" + lines[len(first) :] + "\n\n\n").encode()


def padded_header(head: str, table: Table) -> bytes:
    return (head + to_text([[f" {name.upper()} " for name in table[0]], *table[1:]])).encode()


def every_column_twice(head: str, table: Table) -> bytes:
    first, *rows = table
    doubled = [[*row, *([""] * len(row))] for row in rows]
    return (head + to_text([[*first, *first], *doubled])).encode()


def every_cell_twice(head: str, table: Table) -> bytes:
    return (head + to_text([[*row, *row] for row in table])).encode()


NAMES_ARE_KEYS = ("everflow", "stripe", "trackdesk", "trackier")
VARIANTS = (
    *(shuffled, semicolons_in_utf16, tabs_with_mark, further_columns, trailing_delimiters),
    *(blank_lines, padded_header, every_column_twice, every_cell_twice),
)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
@pytest.mark.parametrize("name", WITH_HEADER)
@pytest.mark.asyncio
async def test_variant_of_a_file_gives_the_same_conversions(
    name: str, variant: Callable[[str, Table], bytes], tmp_path: Path
) -> None:
    if variant is padded_header and name.startswith(
        ("stripe", "trackdesk", "trackier", "everflow")
    ):
        pytest.skip("names of columns become keys of custom data")
    path = tmp_path / "file.csv"
    path.write_bytes(variant(*load(name)))

    result = await read_golden(name, path)

    report = report_of(name)
    assert result.presets == [report["preset"]]
    plain, expected = as_plain(result), expected_of(name)
    if variant in (further_columns, every_cell_twice):
        plain, expected = without_made_ids(plain), without_made_ids(expected)
    assert plain == expected
    assert sum(result.counts.skipped.values()) == sum(report["skipped"].values())
    assert len(result.rejects) == len(report["rejects"])


@pytest.mark.asyncio
async def test_two_values_of_a_cookie_are_the_first(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "event_name,event_time,email,order_id,fbc,fbc\n"
        "Lead,1777622400,a@example.com,1,fb.1.1.a,fb.1.1.b\n",
        encoding="utf-8",
    )

    (lead,) = (await read(path)).conversions

    assert lead.customer is not None
    assert lead.customer.fbc == "fb.1.1.a"


@pytest.mark.parametrize("name", WITH_HEADER)
@pytest.mark.asyncio
async def test_same_rows_as_json_lines_give_the_same_conversions(name: str, tmp_path: Path) -> None:
    head, (columns, *rows) = load(name)
    if head or len({*columns}) < len(columns):
        pytest.skip("JSON has neither lines above a header nor repeated names")
    path = tmp_path / "file.jsonl"
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")

    result = await read_golden(name, path)

    assert as_plain(result) == expected_of(name)
    assert result.counts.skipped == report_of(name)["skipped"]


@pytest.mark.asyncio
async def test_remarks_above_the_header_of_a_template_are_passed_over(tmp_path: Path) -> None:
    remarks = '### INSTRUCTIONS ###,,,\r\n"# Set the zone, or write it in each row",,,\r\n\r\n'
    path = tmp_path / "template.csv"
    path.write_bytes(remarks.encode() + (GOLDEN / "google-ads.csv").read_bytes())

    result = await read_golden("google-ads.csv", path)

    assert as_plain(result)[0]["timestamp"] == "2026-05-01T13:00:00+00:00"
    assert len(result.conversions) == len(expected_of("google-ads.csv"))


@pytest.mark.parametrize("name", WITH_HEADER)
@pytest.mark.asyncio
async def test_header_alone_is_a_file_without_rows(name: str, tmp_path: Path) -> None:
    head, table = load(name)
    path = tmp_path / "file.csv"
    path.write_text(head + to_text(table[:1]), encoding="utf-8", newline="")

    result = await read_golden(name, path)

    assert (result.counts.rows, result.conversions, result.rejects) == (0, [], [])
    assert result.presets == [report_of(name)["preset"]]


@pytest.mark.parametrize("name", WITH_HEADER)
@pytest.mark.asyncio
async def test_cells_of_any_text_are_rejected_or_skipped_but_raise_nothing(
    name: str, tmp_path: Path
) -> None:
    random_ = random.Random(name)
    head, table = load(name)
    words = ["", "x", "-", "=1+1", "1,5", "1e9", "NaN", "05/06/2026", "٣", "a:b|c", "{", "[]", "\n"]
    good = [cell for row in table[1:] for cell in row if cell]
    rows = [
        [random_.choice(words if random_.random() < 0.3 else good) for _ in table[0]]
        for _ in range(150)
    ]
    path = tmp_path / "file.csv"
    path.write_text(head + to_text([table[0], *rows]), encoding="utf-8", newline="")

    result = await read_golden(name, path)

    outcomes = len(result.conversions) + result.counts.all_skipped + len(result.rejects)
    assert outcomes == result.counts.rows
    assert result.counts.rows + result.counts.folded == 150
