import anyio
import orjson
import pytest

from anytrack_async.destinations.meta.quota import Pace, percent, regain

APP = "x-app-usage"
BUSINESS = "x-business-use-case-usage"


def headers(app=None, business=None):
    given = {APP: app, BUSINESS: business}
    return {name: orjson.dumps(page).decode() for name, page in given.items() if page is not None}


def test_highest_figure_counts():
    both = headers(
        app={"call_count": 28, "total_time": 25, "total_cputime": 95},
        business={"1": [{"type": "ads_management", "call_count": 97, "total_time": 3}]},
    )

    assert percent(both) == 97
    assert percent({**both, "x-ad-account-usage": '{"acc_id_util_pct": 99.5}'}) == 99.5


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "3", "null", '{"a": "90"}', '{"a": true}', '{"a": [1]}', '{"a": 1e999}']
)
def test_headers_that_say_nothing_are_nothing(text):
    assert percent({APP: text, BUSINESS: text}) == 0
    assert regain({APP: text, BUSINESS: text}) is None


@pytest.mark.parametrize("pages", [{"1": {}}, {"1": [3]}, {"1": None}, {"1": "x"}])
def test_business_headers_of_another_shape_are_nothing(pages):
    assert percent(headers(business=pages)) == 0


def test_regain_counts_in_minutes_and_the_longest_wins():
    pages = [{"estimated_time_to_regain_access": 3}, {"estimated_time_to_regain_access": 12}]

    assert regain(headers(business={"1": pages[:1], "2": pages[1:]})) == 720


def test_regain_is_bounded():
    for minutes, wanted in ((10**9, 86_400), (0, 0), (-5, 0)):
        page = {"estimated_time_to_regain_access": minutes}
        assert regain(headers(business={"1": [page]})) == wanted


def test_minutes_to_regain_are_not_taken_for_percent():
    page = {"call_count": 10, "estimated_time_to_regain_access": 95}

    assert percent(headers(business={"1": [page]})) == 10


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
    pace = Pace()
    await pace.turn()
    pace.note(headers(app={"call_count": used}))
    await pace.turn()

    assert naps == ([pytest.approx(wait, abs=0.5)] if wait else [])


@pytest.mark.asyncio
async def test_calmer_answer_does_not_shorten_a_pause(naps):
    pace = Pace()
    pace.note(headers(app={"call_count": 100}))
    pace.note(headers(app={"call_count": 91}))
    pace.note({})
    await pace.turn()

    assert naps == [pytest.approx(30, abs=0.5)]
