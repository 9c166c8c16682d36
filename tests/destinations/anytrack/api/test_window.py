from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.api.date_range import Window
from anytrack_async.errors import InvalidArgumentError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def test_without_a_range_it_is_the_last_thirty_days():
    before = datetime.now(UTC)
    found = Window.of(None)

    assert before <= found.end <= datetime.now(UTC)
    assert found.end - found.start == timedelta(days=30)


def test_dates_are_whole_utc_days():
    found = Window.of((date(2026, 1, 1), date(2026, 1, 2)))

    assert found.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.end == datetime(2026, 1, 2, 23, 59, 59, 999999, tzinfo=UTC)


def test_one_day_is_a_range():
    found = Window.of((date(2026, 1, 1), date(2026, 1, 1)))

    assert found.end - found.start == timedelta(days=1, microseconds=-1)


def test_times_are_taken_in_utc():
    east = timezone(timedelta(hours=2))
    found = Window.of((datetime(2026, 1, 1, 2, tzinfo=east), NOON))

    assert found.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.params == {
        "date_from": "2026-01-01T00:00:00+00:00",
        "date_to": "2026-01-01T12:00:00+00:00",
    }


def test_dates_and_times_may_be_mixed():
    assert Window.of((date(2026, 1, 1), NOON)).end == NOON


@pytest.mark.parametrize(
    ("date_range", "problem"),
    [
        ((datetime(2026, 1, 1), NOON), "needs a time zone"),
        ((NOON, date(2025, 12, 31)), "ends before it starts"),
        ((NOON, NOON - timedelta(microseconds=1)), "ends before it starts"),
        (("2026-01-01", "2026-01-02"), "must hold dates or datetimes, got str"),
        ((NOON, None), "must hold dates or datetimes, got NoneType"),
        ((NOON,), "must be a pair"),
        ((NOON, NOON, NOON), "must be a pair"),
        (NOON, "must be a pair"),
        ("ab", "must be a pair"),
    ],
)
def test_other_ranges_are_refused_by_name(date_range: Any, problem: str):
    with pytest.raises(InvalidArgumentError, match=f"^date_range {problem}") as caught:
        Window.of(date_range)
    assert type(caught.value) is InvalidArgumentError  # not a conversion's field


@given(TIMES, st.timedeltas(timedelta(), timedelta(days=90)), st.integers(1, 200))
def test_windows_cover_the_range_without_a_gap(start: datetime, length: timedelta, hours: int):
    size = timedelta(hours=hours)
    whole = Window(start, start + length)
    parts = list(whole.split(size))

    assert parts[0].start == whole.start
    assert parts[-1].end == whole.end
    assert all(left.end == right.start for left, right in pairwise(parts))
    assert all(part.end - part.start <= size for part in parts)
    assert len(parts) == max(1, -(-length // size))


@given(TIMES, st.timedeltas(timedelta(), timedelta(days=40)))
def test_every_day_that_is_touched_counts_once(start: datetime, length: timedelta):
    days = list(Window(start, start + length).days())

    assert days[0] == start.date()
    assert days[-1] == (start + length).date()
    assert all(right - left == timedelta(days=1) for left, right in pairwise(days))


def test_the_last_day_there_is_does_no_harm():
    assert list(Window.of((date.max, date.max)).days()) == [date.max]
