"""Files of dead letters: exported, corrected, and fed back."""

from __future__ import annotations

import csv
import stat

import anyio
import pytest

from anytrack_async import Conversion, SQLiteOutbox, Status
from tests.cli.letters import JANE, SALES, statuses

# Files


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_exported_dead_letters_can_be_corrected_and_fed_back(run, filled, tmp_path, suffix):
    file = tmp_path / f"dead.{suffix}"
    result = run("outbox", "export", file, "--code", "280")
    assert result.out == f"2 conversions written to {file}\n"
    assert "customers' data" in result.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert "too old (code 280, 2" in text
    file.write_text(text.replace("1.90", "49.90"))

    result = run("outbox", "edit", "--file", file)

    assert result.out.splitlines() == [
        f"sale:{number} is corrected and due again at anytrack, meta" for number in (1, 3)
    ]
    sale = anyio.run(_claimed, filled)
    assert sale == Conversion.sale(
        order_id="1",
        revenue="49.90",
        customer=JANE,
        source="=1+1",
        click_id="c-1",
        timestamp=SALES[1].timestamp,
    )


async def _claimed(path) -> Conversion:
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    claim = await outbox.claim("meta", 1, 60)
    await outbox.aclose()
    return claim.entries[0].conversion


def test_an_export_replaces_a_file_only_if_told_to(run, filled, tmp_path):
    file = tmp_path / "dead.jsonl"
    file.write_text("mine", encoding="utf-8")

    refused = run("outbox", "export", file)

    assert refused.code == 2
    assert "use --force" in refused.err
    assert file.read_text(encoding="utf-8") == "mine"
    assert run("outbox", "export", file, "--force").code == 0
    assert "sale:1" in file.read_text(encoding="utf-8")


def test_a_spreadsheet_runs_no_formula_of_an_export(run, filled, tmp_path):
    file = tmp_path / "dead.csv"
    run("outbox", "export", file, "meta")

    with file.open(newline="") as rows:
        assert [row["source"] for row in csv.DictReader(rows)] == ["'=1+1"] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"event_id": "sale:1", "conversion_type": "sale", "revenue": "1"}\n{',
            "line 2: conversion",
        ),
        ('\n{"conversion_type": "sale", "revenue": "1", "order_id": "1"}', "line 2: event_id is"),
        ('{"event_id": "sale:9", "conversion_type": "lead"}', "has the event id 'sale:9'"),
        ('{"event_id": "sale:1", "conversion_type": "sale", "revenue": "x"}', "line 1: revenue"),
    ],
)
def test_a_file_with_a_wrong_line_changes_nothing(run, filled, tmp_path, content, message):
    file = tmp_path / "dead.jsonl"
    file.write_text(content)

    result = run("outbox", "edit", "--file", file)

    assert result.code == 2
    assert message in result.err
    assert statuses(filled, "sale:1")["meta"] is Status.DEAD


def test_a_missing_file_or_another_format_is_reported(run, filled, tmp_path):
    assert "cannot read" in run("outbox", "edit", "--file", tmp_path / "no.jsonl").err
    (tmp_path / "empty.csv").write_text("event_id,revenue\n", encoding="utf-8")
    assert "has no conversions" in run("outbox", "edit", "--file", tmp_path / "empty.csv").err
    assert "supported formats" in run("outbox", "export", tmp_path / "dead.xls").err
