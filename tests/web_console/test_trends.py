"""The last hour and day: intervals, what fell out, and the table behind each chart."""

from __future__ import annotations

import json
from types import SimpleNamespace

from anytrack_async.web_console.trends import make_trends

NOW = 1_700_000_000  # 22:13:20


def outcome(destination: str, minutes_ago: int, status: str, number: int, code: str = ""):
    minute = NOW // 60 * 60 - 60 * minutes_ago
    return SimpleNamespace(
        destination=destination, minute=minute, status=status, code=code, count=number
    )


OUTCOMES = [
    outcome("meta", 600, "delivered", 7),
    outcome("meta", 20, "waiting", 4, "503"),
    outcome("meta", 5, "delivered", 2),
    outcome("meta", 0, "delivered", 1),
    outcome("meta", 0, "dead", 3, "2804003"),
    outcome("hubspot", 1, "delivered", 5),
]


def test_the_last_hour_has_a_value_for_each_minute():
    hour = make_trends(OUTCOMES, 20, NOW, ["meta", "hubspot"]).hour
    meta, hubspot, failed = hour.series

    assert len(hour.times) == len(meta.values) == 60
    assert hour.times[-1] == NOW // 60 * 60
    assert (meta.values[-1], meta.values[-6], sum(meta.values)) == (1, 2, 3)
    assert hubspot.values[-2] == 5
    assert (failed.name, sum(failed.values)) == ("attempts that failed", 7)


def test_the_last_day_has_a_value_for_each_quarter_of_an_hour():
    day = make_trends(OUTCOMES, 20, NOW, ["meta", "hubspot"]).day

    assert len(day.times) == 96
    assert sum(day.series[0].values) == 10
    assert all(moment % 900 == 0 for moment in day.times)


def test_the_funnel_has_what_fell_out_by_reason():
    meta, hubspot = make_trends(OUTCOMES, 20, NOW, ["meta", "hubspot"]).funnels

    assert (meta.delivered, meta.dead) == (10, 3)
    assert [(loss.state.word, loss.code, loss.number) for loss in meta.losses] == [
        ("retrying", "503", 4),
        ("dead letter", "2804003", 3),
    ]
    assert (hubspot.delivered, hubspot.losses) == (5, [])


def test_the_table_has_the_same_numbers_as_the_chart():
    hour = make_trends(OUTCOMES, 20, NOW, ["meta", "hubspot"]).hour
    data = json.loads(hour.json)

    assert data["times"] == list(hour.times)
    assert [
        row for row in zip(*(line["values"] for line in data["series"]), strict=True) if any(row)
    ]
    assert len(hour.rows) == 4  # the others are zero
    assert hour.rows[0] == (hour.times[-1], [1, 0, 3])


def test_an_empty_outbox_has_empty_charts():
    trends = make_trends([], 0, NOW, ["meta"])

    assert trends.hour.rows == []
    assert make_trends([], 0, NOW, []).day.rows == []
    assert trends.most == 1
