"""`anytrack report`, `affiliates`, `attribution` and `touchpoints`, over the sandbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest


@pytest.fixture
def conversion_id(run, sandbox) -> str:
    """AnyTrack's id of the first of two sales."""
    ids = []
    for number in range(2):
        sale = ("--order-id", str(number), "--revenue", "9.90", "--click-id", f"click-{number}")
        result = run("track", "sale", *sale, "--email", "jane@example.com", "--json")
        ids.append(json.loads(result.out)["conversion_id"])
    return ids[0]


def cells(line: str) -> list[str]:
    return line.split()


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def test_the_totals_of_a_day(run, conversion_id):
    result = run("report", "daily", today())

    header, row, *rest = result.out.splitlines()
    assert cells(header) == ["day", "conversions", "revenue", "per", "conversion"]
    assert cells(row) == [today(), "2", "19.80", "9.90"]
    assert any(line.startswith("source") for line in rest)
    assert result.code == 0


def test_a_day_as_json(run, conversion_id):
    report = json.loads(run("report", "daily", "--json").out)

    assert (report["date"], report["total_revenue"], report["total_conversions"]) == (
        today(),
        "19.80",
        2,
    )


def test_the_days_of_a_period_have_a_sum(run, conversion_id):
    result = run("report", "range", "--from", "3d")

    _, *days, total = result.out.splitlines()
    assert [cells(day)[1] for day in days] == ["0", "0", "0", "2"]
    assert cells(total) == ["all", "2", "19.80", "9.90"]


def test_the_best_affiliates(run, conversion_id):
    best = json.loads(run("affiliates", "top", "--by", "conversions", "--limit", "1", "--json").out)
    table = run("affiliates", "top").out

    assert len(best) == 1
    assert cells(table.splitlines()[0])[:3] == ["affiliate", "clicks", "conversions"]
    assert best[0]["affiliate_id"] in table


def test_one_affiliate(run, conversion_id):
    (best,) = json.loads(run("affiliates", "top", "--limit", "1", "--json").out)

    shown = json.loads(run("affiliates", "show", best["affiliate_id"], "--json").out)
    table = run("affiliates", "show", best["affiliate_id"])

    assert shown == best
    assert cells(table.out.splitlines()[1])[0] == best["affiliate_id"]


def test_the_attribution_of_a_conversion(run, conversion_id):
    attribution = json.loads(run("attribution", conversion_id, "--json").out)
    table = run("attribution", conversion_id).out

    assert attribution["model"] == "last_click"
    assert table.startswith("model: last_click\n")
    assert "100.0%" in table


def test_the_touchpoints_of_a_conversion(run, conversion_id):
    contacts = json.loads(run("touchpoints", conversion_id, "--json").out)
    header, *rows = run("touchpoints", conversion_id).out.splitlines()

    assert cells(header) == ["time", "(UTC)", "type", "source", "campaign"]
    assert len(rows) == len(contacts) > 0
    assert contacts == sorted(contacts, key=lambda contact: contact["timestamp"])


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("attribution", "absent"), 1, "absent"),
        (("touchpoints", "absent"), 1, "absent"),
        (("report", "daily", "soon"), 2, "DATE needs a day"),
        (("report", "range", "--from", "1d", "--to", "2d"), 2, "ends before it starts"),
        (("affiliates", "top", "--by", "luck"), 2, "luck"),
    ],
)
def test_errors_are_explained(run, sandbox, command, code, message):
    result = run(*command)

    assert result.code == code
    assert message in result.err
    assert "Traceback" not in result.err
