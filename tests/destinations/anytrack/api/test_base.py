"""Date ranges, rounds of requests, and lists of records."""

from __future__ import annotations

import logging
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.api.base import TimeRange, fetch_in_order, read_records
from anytrack_async.destinations.anytrack.api.conversions import read_conversion
from anytrack_async.errors import InvalidArgumentError
from tests.destinations.anytrack.api.doubles import RECORD, record

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "jane@example.com"
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


class Squares:
    """Squares keys and counts concurrent calls; earlier keys take longer."""

    def __init__(self, failing_key: int | None = None) -> None:
        self.failing_key = failing_key
        self.running = self.peak = 0
        self.started: list[int] = []

    async def __call__(self, key: int) -> int:
        self.started.append(key)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            for _ in range(10 - key % 10):
                await anyio.lowlevel.checkpoint()
            if key == self.failing_key:
                raise LookupError(key)
        finally:
            self.running -= 1
        return key * key


class TestTimeRange:
    """Date ranges."""

    def test_the_default_is_the_last_thirty_days(self):
        before = datetime.now(UTC)
        time_range = TimeRange.from_argument(None)

        assert before <= time_range.end <= datetime.now(UTC)
        assert time_range.end - time_range.start == timedelta(days=30)

    def test_dates_are_whole_utc_days(self):
        time_range = TimeRange.from_argument((date(2026, 1, 1), date(2026, 1, 2)))

        assert time_range.start == datetime(2026, 1, 1, tzinfo=UTC)
        assert time_range.end == datetime(2026, 1, 2, 23, 59, 59, 999999, tzinfo=UTC)

    def test_the_same_date_twice_is_one_whole_day(self):
        time_range = TimeRange.from_argument((date(2026, 1, 1), date(2026, 1, 1)))

        assert time_range.end - time_range.start == timedelta(days=1, microseconds=-1)

    def test_times_are_converted_to_utc(self):
        east = timezone(timedelta(hours=2))
        time_range = TimeRange.from_argument((datetime(2026, 1, 1, 2, tzinfo=east), NOON))

        assert time_range.start == datetime(2026, 1, 1, tzinfo=UTC)
        assert time_range.params == {
            "date_from": "2026-01-01T00:00:00+00:00",
            "date_to": "2026-01-01T12:00:00+00:00",
        }

    def test_a_date_and_a_time_can_be_mixed(self):
        assert TimeRange.from_argument((date(2026, 1, 1), NOON)).end == NOON

    @pytest.mark.parametrize(
        ("date_range", "problem"),
        [
            ((datetime(2026, 1, 1), NOON), "needs a time zone"),
            ((NOON, date(2025, 12, 31)), "ends before it starts"),
            ((NOON, NOON - timedelta(microseconds=1)), "ends before it starts"),
            (("2026-01-01", "2026-01-02"), "must contain dates or datetimes, got str"),
            ((NOON, None), "must contain dates or datetimes, got NoneType"),
            ((NOON,), "must be a pair"),
            ((NOON, NOON, NOON), "must be a pair"),
            (NOON, "must be a pair"),
            ("ab", "must be a pair"),
        ],
    )
    def test_an_invalid_range_raises_an_error_that_names_the_argument(
        self, date_range: Any, problem: str
    ):
        with pytest.raises(InvalidArgumentError, match=f"^date_range {problem}") as caught:
            TimeRange.from_argument(date_range)
        assert type(caught.value) is InvalidArgumentError  # not a conversion's field

    @given(TIMES, st.timedeltas(timedelta(), timedelta(days=90)), st.integers(1, 200))
    def test_a_split_covers_the_range_without_a_gap(
        self, start: datetime, length: timedelta, hours: int
    ):
        part_length = timedelta(hours=hours)
        whole = TimeRange(start, start + length)
        parts = list(whole.split(part_length))

        assert parts[0].start == whole.start
        assert parts[-1].end == whole.end
        assert all(first.end == second.start for first, second in pairwise(parts))
        assert all(part.end - part.start <= part_length for part in parts)
        assert len(parts) == max(1, -(-length // part_length))

    @given(TIMES, st.timedeltas(timedelta(), timedelta(days=40)))
    def test_days_have_each_day_of_the_range_once(self, start: datetime, length: timedelta):
        days = list(TimeRange(start, start + length).days())

        assert days[0] == start.date()
        assert days[-1] == (start + length).date()
        assert all(second - first == timedelta(days=1) for first, second in pairwise(days))

    def test_the_range_may_end_on_the_last_possible_day(self):
        assert list(TimeRange.from_argument((date.max, date.max)).days()) == [date.max]


@pytest.mark.asyncio
class TestFetchInOrder:
    """Rounds of requests."""

    @given(st.integers(0, 30), st.integers(1, 8))
    async def test_results_keep_the_order_and_concurrency_is_bounded(
        self, count: int, concurrency: int
    ):
        squares = Squares()
        results = [result async for result in fetch_in_order(squares, range(count), concurrency)]

        assert results == [key * key for key in range(count)]
        assert squares.peak == min(count, concurrency)

    async def test_keys_are_read_only_as_far_as_needed(self):
        squares = Squares()
        async with aclosing(fetch_in_order(squares, iter(range(10**12)), 3)) as results:
            async for _ in results:
                break

        assert squares.started == [0, 1, 2]

    async def test_nothing_runs_while_the_consumer_works(self):
        squares = Squares()
        async for _ in fetch_in_order(squares, range(10), 4):
            assert squares.running == 0

    async def test_a_failure_is_raised_unchanged_and_cancels_its_round(self):
        async def fail_one(key: int) -> int:
            if key == 3:
                raise LookupError(key)
            await anyio.sleep_forever()
            return key

        with anyio.fail_after(5), pytest.raises(LookupError, match="3"):
            await anext(fetch_in_order(fail_one, range(20), 20))

    async def test_results_before_a_failing_round_are_yielded(self):
        results: list[int] = []

        async def collect() -> None:
            async for result in fetch_in_order(Squares(failing_key=5), range(20), 2):
                results.append(result)

        with pytest.raises(LookupError):
            await collect()

        assert results == [0, 1, 4, 9]

    async def test_cancelling_the_consumer_cancels_the_requests(self):
        started = anyio.Event()
        stopped = []

        async def forever(key: int) -> int:
            started.set()
            try:
                await anyio.sleep_forever()
            finally:
                stopped.append(key)
            return key

        async def consume() -> None:
            async for _ in fetch_in_order(forever, range(5), 3):
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            await started.wait()
            tasks.cancel_scope.cancel()

        assert sorted(stopped) == [0, 1, 2]


class TestReadRecords:
    """Lists of records."""

    def test_a_bad_record_is_left_out_and_logged(self, caplog: pytest.LogCaptureFixture):
        records = [RECORD, record(revenue=SECRET), "x", record(id="c2")]
        left_out = "anytrack: left out unreadable record"

        with caplog.at_level(logging.WARNING, "anytrack_async"):
            conversions = read_records(records, read_conversion)

        assert [conversion.id for conversion in conversions] == ["c1", "c2"]
        assert caplog.messages == [
            f"{left_out} 2 of 4 (id c1): RecordedConversion: must be a number @ $.revenue",
            f"{left_out} 3 of 4: expected an object, got str",
        ]
        assert SECRET not in caplog.text

    @pytest.mark.parametrize("id_", [SECRET, "a" * 65, "a b", "a\n", [], None, 1.5])
    def test_an_id_that_may_be_anything_is_not_logged(
        self, id_: Any, caplog: pytest.LogCaptureFixture
    ):
        records = [record(id=id_, revenue="x"), record(id=7, revenue="x")]
        assert read_records(records, read_conversion) == []

        assert "record 1 of 2: " in caplog.messages[0]
        assert "record 2 of 2 (id 7): " in caplog.messages[1]

    def test_many_bad_records_are_logged_as_a_number(self, caplog: pytest.LogCaptureFixture):
        assert read_records(["x"] * 1000, read_conversion) == []

        assert len(caplog.records) == 6
        assert caplog.messages[-1] == "anytrack: left out 1000 unreadable of 1000 records"
