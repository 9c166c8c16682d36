"""Meta's usage headers: how much of the quota is used, and how long to wait."""

import anyio
import orjson
import pytest

from anytrack_async.destinations.meta.responses import (
    QuotaPacer,
    regain_seconds,
    usage_percent,
)

APP = "x-app-usage"
BUSINESS = "x-business-use-case-usage"


def headers(app=None, business=None):
    usage = {APP: app, BUSINESS: business}
    return {name: orjson.dumps(page).decode() for name, page in usage.items() if page is not None}


def test_highest_figure_counts():
    usage = headers(
        app={"call_count": 28, "total_time": 25, "total_cputime": 95},
        business={"1": [{"type": "ads_management", "call_count": 97, "total_time": 3}]},
    )

    assert usage_percent(usage) == 97
    assert usage_percent({**usage, "x-ad-account-usage": '{"acc_id_util_pct": 99.5}'}) == 99.5


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "3", "null", '{"a": "90"}', '{"a": true}', '{"a": [1]}', '{"a": 1e999}']
)
def test_headers_without_usage_are_ignored(text):
    assert usage_percent({APP: text, BUSINESS: text}) == 0
    assert regain_seconds({APP: text, BUSINESS: text}) is None


@pytest.mark.parametrize("pages", [{"1": {}}, {"1": [3]}, {"1": None}, {"1": "x"}])
def test_business_headers_of_another_shape_are_ignored(pages):
    assert usage_percent(headers(business=pages)) == 0


def test_regain_counts_in_minutes_and_the_longest_counts():
    pages = [{"estimated_time_to_regain_access": 3}, {"estimated_time_to_regain_access": 12}]

    assert regain_seconds(headers(business={"1": pages[:1], "2": pages[1:]})) == 720


def test_regain_is_bounded():
    for minutes, wanted in ((10**9, 86_400), (0, 0), (-5, 0)):
        page = {"estimated_time_to_regain_access": minutes}
        assert regain_seconds(headers(business={"1": [page]})) == wanted


def test_minutes_to_regain_access_are_not_counted_as_percent():
    page = {"call_count": 10, "estimated_time_to_regain_access": 95}

    assert usage_percent(headers(business={"1": [page]})) == 10


@pytest.fixture
def naps(monkeypatch):
    """Return the seconds slept, without sleeping."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return slept


@pytest.mark.asyncio
@pytest.mark.parametrize(("used", "wait"), [(0, 0), (89.9, 0), (90, 5), (99, 5), (100, 30)])
async def test_requests_slow_down_before_the_quota_is_used(naps, used, wait):
    pace = QuotaPacer()
    await pace.wait()
    pace.record(headers(app={"call_count": used}))
    await pace.wait()

    assert naps == ([pytest.approx(wait, abs=0.5)] if wait else [])


@pytest.mark.asyncio
async def test_lower_usage_does_not_shorten_a_pause(naps):
    pace = QuotaPacer()
    pace.record(headers(app={"call_count": 100}))
    pace.record(headers(app={"call_count": 91}))
    pace.record({})
    await pace.wait()

    assert naps == [pytest.approx(30, abs=0.5)]
