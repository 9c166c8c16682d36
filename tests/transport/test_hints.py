from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.transport.hints import retry_after

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def hint(value: str) -> float | None:
    return retry_after(httpx.Headers({"Retry-After": value}), NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("-3", 0.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30.0),
        ("Thu, 01 Jan 2026 14:00:30 +0200", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 99 Jan 2026 12:00:30 GMT", None),
    ],
)
def test_both_forms_are_understood(value: str, seconds: float | None):
    assert hint(value) == seconds


def test_without_the_header_there_is_no_hint():
    assert retry_after({}) is None


@given(st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(UTC)))
def test_a_date_means_the_time_until_then(at: datetime):
    at = at.replace(microsecond=0)

    assert hint(format_datetime(at, usegmt=True)) == max((at - NOW).total_seconds(), 0.0)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_junk_never_raises(value: str):
    found = retry_after({"retry-after": value})

    assert found is None or found >= 0


def test_a_date_is_compared_with_the_present():
    found = retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"})

    assert found is not None
    assert found > 1e9
