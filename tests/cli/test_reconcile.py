"""`anytrack reconcile` compares the sandbox's conversions with those of the outbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from anytrack_async import SQLiteOutbox


@pytest.fixture
def sales(run, sandbox, outbox_path) -> None:
    for number in range(3):
        sale = ("--order-id", str(number), "--revenue", "9.90", "--email", "jane@example.com")
        assert run("track", "sale", *sale).code == 0


def test_both_sides_agree(run, sales):
    result = run("reconcile", "--from", "1d")

    assert result.code == 0
    assert result.out == (
        "AnyTrack has 3 conversions of the period: 3 were delivered by this outbox, 0 were not; "
        "AnyTrack lacks 0 that the outbox delivered\n"
    )


def test_a_conversion_that_only_anytrack_has_is_listed(run, sales, monkeypatch, tmp_path):
    monkeypatch.setenv("ANYTRACK_OUTBOX", str(tmp_path / "other.db"))
    run("track", "lead", "--order-id", "7", "--email", "jane@example.com")

    other = run("reconcile", "--from", "1d")

    assert other.code == 3
    assert other.out.count("only AnyTrack has cv_") == 3
    assert "(sale 9.90 USD, " in other.out
    assert "4 conversions of the period: 1 were delivered" in other.out


def test_a_conversion_that_only_the_outbox_has_is_listed(run, sales, sandbox):
    sandbox.reset()

    result = run("reconcile", "--from", "1d")

    assert result.code == 3
    for number in range(3):
        assert f"only the outbox has sale:{number}, cv_" in result.out
    assert "AnyTrack lacks 3" in result.out
    assert "is found with a longer --margin" in result.err


def test_what_waits_is_no_difference(run, sales, outbox_path):
    run("track", "sale", "--order-id", "8", "--revenue", "1", "--no-wait")

    assert run("reconcile", "--from", "1d").code == 0


def test_another_period_has_nothing(run, sales):
    result = run("reconcile", "--from", "2020-01-01", "--to", "2020-01-31")

    assert result.code == 0
    assert "AnyTrack has 0 conversions of the period" in result.out


def test_old_orders_are_found_with_a_margin(run, sales):
    two_months_ago = (datetime.now(UTC) - timedelta(days=60)).isoformat()
    old = ("--order-id", "9", "--revenue", "1", "--timestamp", two_months_ago)
    run("track", "sale", *old, "--email", "jane@example.com")

    short = run("reconcile", "--from", "1d")
    long = run("reconcile", "--from", "1d", "--margin", "90d")

    assert short.code == 3
    assert "only the outbox has sale:9" in short.out
    assert long.code == 0


def test_a_back_fill_after_the_period_is_matched(run, sales):
    old = ("--order-id", "9", "--revenue", "1", "--timestamp", "2026-01-05T00:00:00+00:00")
    run("track", "sale", *old, "--email", "jane@example.com")

    result = run("reconcile", "--from", "2026-01-01", "--to", "2026-01-31")

    assert result.code == 0
    assert "AnyTrack has 1 conversions of the period: 1 were delivered" in result.out


def test_what_the_outbox_has_forgotten_is_said(run, sales, outbox_path):
    async def forget() -> None:
        outbox = SQLiteOutbox(outbox_path)
        await outbox.open([])
        await outbox.prune(remember=0)
        await outbox.aclose()

    anyio.run(forget)

    result = run("reconcile", "--from", "1d")

    assert result.code == 3
    assert "has forgotten the ids of its first 2 conversions" in result.err


def test_differences_as_json(run, sales, sandbox):
    sandbox.reset()

    answer = json.loads(run("reconcile", "--from", "1d", "--json").out)

    assert [item["event_id"] for item in answer["differences"]] == ["sale:0", "sale:1", "sale:2"]
    assert {item["side"] for item in answer["differences"]} == {"outbox"}
    assert answer["summary"]["only_outbox"] == 3
