"""`anytrack export` writes what AnyTrack has, and `anytrack backfill` reads it back."""

from __future__ import annotations

import csv
import json

import pytest

from anytrack_async.client.export_formats import COLUMNS, DEFAULT_COLUMNS


@pytest.fixture
def sale(run, sandbox):
    result = run(
        *("track", "sale", "--order-id", "7", "--revenue", "49.90", "--currency", "EUR"),
        *("--email", "jane@example.com", "--set", "ip_address=203.0.113.9"),
    )
    assert result.code == 0


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_conversions_are_written_to_a_file(run, sale, tmp_path):
    path = tmp_path / "out.csv"

    result = run("export", path)

    assert result.code == 0
    assert result.out == f"1 conversions are in {path}\n"
    (row,) = rows(path)
    assert tuple(row) == DEFAULT_COLUMNS
    assert (row["revenue"], row["currency"]) == ("49.90", "EUR")
    assert row["event_id"] == f"anytrack:{row['id']}"


def test_what_was_exported_is_known_to_a_back_fill(run, sale, tmp_path):
    path = tmp_path / "out.csv"
    run("export", path, "--columns", "all")

    result = run("backfill", path, "--dry-run", "--json")

    report = json.loads(result.out)
    assert rows(path)[0].keys() == {*COLUMNS}
    assert report["sources"][0]["preset"] == "anytrack"
    assert report["counts"]["accepted"] == 1
    assert report["counts"]["totals"] == {"EUR": "49.90"}


def test_a_format_and_columns_can_be_chosen(run, sale, tmp_path):
    google = run("export", tmp_path / "google.csv", "--format", "google-ads")
    run("export", tmp_path / "short.csv", "--columns", "currency, revenue")
    report = json.loads(run("export", tmp_path / "out.parquet", "--json").out)

    assert google.out.startswith("0 conversions")  # none has a click id of Google
    assert rows(tmp_path / "short.csv") == [{"currency": "EUR", "revenue": "49.90"}]
    assert report == {"file": str(tmp_path / "out.parquet"), "conversions": 1}


def test_a_period_can_be_chosen(run, sale, tmp_path):
    old = run("export", tmp_path / "old.csv", "--from", "2020-01-01", "--to", "2020-01-31")
    today = run("export", tmp_path / "today.csv", "--from", "1d")

    assert old.out.startswith("0 conversions")
    assert today.out.startswith("1 conversions")


def test_a_file_is_replaced_only_if_asked_for(run, sale, tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("mine")

    refused = run("export", path)
    replaced = run("export", path, "--force")

    assert refused.code == 2
    assert "use --force" in refused.err
    assert replaced.code == 0
    assert len(rows(path)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("out.txt",), "cannot export as 'txt'; supported formats: csv, jsonl, parquet"),
        (("out.csv", "--columns", "e-mail"), "'e-mail' is unknown"),
        (("out.csv", "--from", "soon"), "--from needs a day"),
        (("out.csv", "--from", "2026-02-01", "--to", "2026-01-01"), "ends before it starts"),
    ],
)
def test_wrong_usage_is_explained(run, sandbox, tmp_path, options, message):
    name, *rest = options

    result = run("export", tmp_path / name, *rest)

    assert result.code == 2
    assert message in result.err
    assert not [*tmp_path.iterdir()]
