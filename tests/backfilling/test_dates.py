"""Dates as people write them: read exactly, or refused; never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.backfilling.times import time_parser, written_parser
from anytrack_async.errors import InvalidConversionError

moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2999, 12, 31)).map(
    lambda moment: moment.replace(microsecond=0)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25/06/2026 14:05:03", "2026-06-25T14:05:03"),
        ("6/25/2026 2:05 PM", "2026-06-25T14:05:00"),
        ("6/25/2026  12:05:03 a.m.", "2026-06-25T00:05:03"),
        ("06/06/2026", "2026-06-06T00:00:00"),
        ("05.06.2026", "2026-06-05T00:00:00"),
        ("2026/6/5 14:05", "2026-06-05T14:05:00"),
        ("Jun 5, 2026 14:05:03", "2026-06-05T14:05:03"),
        ("Jun 5,2026 2:05:03 PM", "2026-06-05T14:05:03"),
        ("5 June 2026", "2026-06-05T00:00:00"),
        ("25/06/2026 14:05 +0200", "2026-06-25T14:05:00+02:00"),
        ("25/06/2026 14:05 America/New_York", "2026-06-25T14:05:00-04:00"),
    ],
)
def test_date_is_read(text: str, expected: str) -> None:
    moment = written_parser(None)(text)

    assert moment is not None
    assert moment.isoformat() == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "32/06/2026", "31/02/2026", "13/13/2026", "5/6/26", "Foo 5, 2026"),
        *("25/06/2026 25:00", "25/06/2026 13:00 PM", "25/06/2026 0:30 PM", "25/06/2026 14:05 CST"),
        *("25-06/2026", "25/06/2026 14", "June 2026"),
    ],
)
def test_other_text_is_no_date(text: str) -> None:
    assert written_parser(None)(text) is None


def test_date_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(InvalidConversionError, match="day_first=True"):
        written_parser(None)("05/06/2026 10:00")


def test_stated_order_is_never_changed_by_the_date() -> None:
    assert written_parser(False)("25/06/2026") is None
    assert written_parser(True)("06/25/2026") is None


@given(moment=moments, day_first=st.booleans())
def test_every_moment_in_the_stated_order_comes_back(moment: datetime, day_first: bool) -> None:
    form = "%d/%m/%Y %H:%M:%S" if day_first else "%m/%d/%Y %I:%M:%S %p"

    assert written_parser(day_first)(moment.strftime(form)) == moment


@given(moment=moments)
def test_without_a_stated_order_a_date_is_read_right_or_refused(moment: datetime) -> None:
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        text = moment.strftime(form)
        try:
            day = written_parser(None)(text)
        except InvalidConversionError:
            assert moment.day <= 12
            assert moment.month <= 12
        else:
            assert day is not None
            assert day.date() == moment.date()


@given(text=st.text(max_size=30))
def test_any_text_is_a_date_or_none_or_refused(text: str) -> None:
    try:
        moment = written_parser(None)(text)
    except InvalidConversionError:
        return
    assert moment is None or isinstance(moment, datetime)


def test_iso_times_may_have_the_name_of_a_zone() -> None:
    parse = time_parser(("iso",), None)

    moment = parse("2026-07-01 10:00:00 America/New_York", None)

    assert (moment, moment.utcoffset()) == (datetime(2026, 7, 1, 14, tzinfo=UTC), timedelta(0))
    with pytest.raises(InvalidConversionError, match="is not a time"):
        parse("2026-07-01 10:00:00 EST", None)


@pytest.mark.parametrize("text", ["46000", "46000.4167", " 46000,5"])
def test_a_spreadsheets_number_of_a_day_is_told_as_such(text: str) -> None:
    with pytest.raises(InvalidConversionError, match="the number of a day, as spreadsheets"):
        time_parser(("iso", "written", "unix"), UTC)(text, None)
