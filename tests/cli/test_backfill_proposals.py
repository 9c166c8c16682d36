"""`anytrack backfill` with a file that no preset fits: a proposed mapping and its questions."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def unknown(tmp_path) -> Path:
    path = tmp_path / "other.csv"
    path.write_text(
        "Order No;Total;Net Total;Paid At;E-Mail\n"
        "7;49,90;40,00;2026-05-01T10:00:00Z;jane@example.com\n"
    )
    return path


@pytest.mark.parametrize("options", [(), ("--inspect",), ("--dry-run",)])
def test_a_file_that_no_preset_fits_gets_a_proposal_and_questions(
    run, sandbox, outbox_path, unknown, options
):
    result = run("backfill", unknown, *options)

    assert result.code == 2
    assert 'order_id = "Order No"' in result.out
    assert "question: amount:" in result.err
    assert "--map map.toml" in result.err
    assert "jane@example.com" not in result.out + result.err
    assert sandbox.ledger()["anytrack"]["requests"] == 0


def test_a_proposal_with_answers_can_be_used(run, sandbox, outbox_path, unknown, tmp_path):
    proposal = run("backfill", unknown).out
    mapping = tmp_path / "map.toml"
    for question in ('currency = "EUR"', 'gross = "Total"'):
        proposal = proposal.replace(f"# {question}\n", f"{question}\n")
    mapping.write_text(proposal)

    result = run("backfill", unknown, "--map", mapping, "--decimal", ",")

    assert result.code == 0
    assert "total of accepted sales: 49.90 EUR" in result.out


@pytest.mark.parametrize(
    ("options", "topics"),
    [
        ((), ["timezone", "currency"]),
        (("--timezone", "Europe/Berlin"), ["currency"]),
        (("--timezone", "+02:00", "--currency", "EUR"), []),
    ],
)
def test_options_answer_questions(run, outbox_path, tmp_path, options, topics):
    path = tmp_path / "orders.csv"
    path.write_text("order_id,total,ordered_at\n7,49.90,2026-05-01 10:00\n")

    result = run("backfill", path, "--dry-run", *options)

    asked = [line.split(":")[1].strip() for line in result.err.splitlines() if "question:" in line]
    assert (result.code, asked) == (2, topics)
    assert ("answer its questions" in result.err) is bool(topics)
