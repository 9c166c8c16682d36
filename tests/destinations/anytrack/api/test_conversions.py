from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from anytrack_async.destinations.anytrack.api.conversions import Conversions
from anytrack_async.errors import DecodeError, InvalidArgumentError, NotFoundError, ServerError
from anytrack_async.models.conversion import ConversionType
from tests.destinations.anytrack.api.api import Api, record

pytestmark = pytest.mark.asyncio

WEEK = (date(2026, 1, 1), date(2026, 1, 7))


def at(day: int, hour: int = 0) -> str:
    return datetime(2026, 1, day, hour, tzinfo=UTC).isoformat()


async def collect(stream: AsyncIterable[Any], found: list[Any]) -> None:
    async for one in stream:
        found.append(one)


class Log:
    """Answers with the records of the range asked for, both ends included, newest first."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> dict[str, Any]:
        start, end = request.url.params["date_from"], request.url.params["date_to"]
        self.asked.append((start, end))
        found = [one for one in self.records if start <= one["timestamp"] <= end]
        return {"data": sorted(found, key=lambda one: one["timestamp"], reverse=True)}


def hourly() -> Iterator[dict[str, Any]]:
    for day in range(1, 8):
        for hour in range(24):
            yield record(f"c{day:02}{hour:02}", at(day, hour))


# One


async def test_one_conversion_is_read():
    api = Api(conversions__c1={"data": record("c1", custom_data={"event_id": "sale:7"})})
    found = await Conversions(api.session).get("c1")

    assert (found.id, found.event_id) == ("c1", "sale:7")
    assert found.timestamp == datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_an_id_cannot_lead_elsewhere():
    api = Api()
    with pytest.raises(NotFoundError):
        await Conversions(api.session).get("../reports/daily?x=1")

    assert api.requests[0].url.raw_path == b"/v1/conversions/..%2Freports%2Fdaily%3Fx%3D1"


@pytest.mark.parametrize("id_", ["", " ", ".", "..", None, 7])
async def test_what_is_no_id_is_refused_unsent(id_: Any):
    api = Api()
    with pytest.raises(InvalidArgumentError, match=r"^conversion_id "):
        await Conversions(api.session).get(id_)

    assert api.requests == []


async def test_a_number_is_told_to_be_no_id():
    number: Any = 7
    with pytest.raises(InvalidArgumentError, match=r"^conversion_id must be text, got int$"):
        await Conversions(Api().session).get(number)


@pytest.mark.parametrize("body", [{}, [], {"data": None}, {"data": []}, {"data": {}}, "text"])
async def test_an_answer_without_a_conversion_is_a_decode_error(body: Any):
    with pytest.raises(DecodeError):
        await Conversions(Api(conversions__c1=lambda _: body).session).get("c1")


# Lists


async def test_a_list_asks_for_the_range_and_the_filters():
    api = Api(conversions={"data": [record("c1"), record("c2")]})
    found = await Conversions(api.session).list(WEEK, source="google ads", campaign_id="7")

    assert [one.id for one in found] == ["c1", "c2"]
    assert api.params == {
        "date_from": "2026-01-01T00:00:00+00:00",
        "date_to": "2026-01-07T23:59:59.999999+00:00",
        "source": "google ads",
        "campaign_id": "7",
    }


async def test_a_list_covers_thirty_days_unless_told():
    api = Api(conversions={"data": []})
    assert await Conversions(api.session).list() == []

    start, end = (datetime.fromisoformat(api.params[name]) for name in ("date_from", "date_to"))
    assert end - start == timedelta(days=30)
    assert set(api.params) == {"date_from", "date_to"}


async def test_one_bad_record_does_not_lose_the_list(caplog: pytest.LogCaptureFixture):
    bad = [3, None, {}, record("c2", "yesterday"), record("c3", revenue="lots")]
    api = Api(conversions={"data": [record("c1"), *bad, record("c4", conversion_type="renewal")]})
    found = await Conversions(api.session).list(WEEK)

    assert [one.id for one in found] == ["c1", "c4"]
    assert found[1].conversion_type is ConversionType.CUSTOM
    assert found[1].event_name == "renewal"
    assert len(caplog.records) == 5
    assert "lots" not in caplog.text


async def test_an_answer_that_is_no_list_is_a_decode_error():
    with pytest.raises(DecodeError, match="expected a list"):
        await Conversions(Api(conversions={"data": {"id": "c1"}}).session).list(WEEK)


async def test_a_long_list_is_read_off_the_loop(monkeypatch: pytest.MonkeyPatch):
    threads = set()

    def spy(records: list[Any], read: Any) -> list[Any]:
        threads.add(threading.get_ident())
        return [read(one) for one in records]

    monkeypatch.setattr("anytrack_async.destinations.anytrack.api.base.read_list", spy)
    api = Api(conversions={"data": [record(str(number)) for number in range(51)]})
    found = await Conversions(api.session).list(WEEK)

    assert len(found) == 51
    assert threading.get_ident() not in threads


async def test_by_source_filters_by_it():
    api = Api(conversions={"data": [record("c1")]})
    await Conversions(api.session).by_source("newsletter")

    assert api.params["source"] == "newsletter"


@pytest.mark.parametrize("name", ["source", "campaign_id"])
async def test_an_empty_filter_is_refused(name: str):
    with pytest.raises(InvalidArgumentError, match=f"^{name} must not be empty"):
        await Conversions(Api().session).list(WEEK, **{name: ""})


async def test_by_source_needs_a_source():
    with pytest.raises(InvalidArgumentError, match=r"^source "):
        await Conversions(Api().session).by_source("")


# Streams


async def test_a_stream_yields_each_conversion_once_in_order_of_time():
    log = Log(*hourly())
    api = Api(conversions=log)
    found = [one.id async for one in Conversions(api.session).stream(WEEK)]

    assert found == [one["id"] for one in hourly()]
    assert len(log.asked) == 7


async def test_windows_meet_without_a_gap():
    log = Log()
    async for _ in Conversions(Api(conversions=log).session).stream(WEEK, concurrency=1):
        pass

    assert all(left[1] == right[0] for left, right in pairwise(log.asked))


async def test_a_service_that_ignores_the_time_of_day_yields_no_duplicates():
    def by_day(request: httpx.Request) -> dict[str, Any]:
        params = request.url.params
        first, last = params["date_from"][:10], params["date_to"][:10]
        return {"data": [one for one in hourly() if first <= one["timestamp"][:10] <= last]}

    api = Api(conversions=by_day)
    stream = Conversions(api.session).stream(WEEK, window=timedelta(hours=5))
    found = [one.id async for one in stream]

    assert sorted(found) == [one["id"] for one in hourly()]


async def test_conversions_without_id_are_all_yielded():
    api = Api(conversions={"data": [record(None), record(None)]})
    stream = Conversions(api.session).stream((date(2026, 1, 1), date(2026, 1, 1)))

    assert len([one async for one in stream]) == 2


async def test_a_stream_filters_like_a_list():
    api = Api(conversions={"data": []})
    stream = Conversions(api.session).stream(WEEK, source="google", campaign_id="7")
    assert [one async for one in stream] == []

    assert {"source", "campaign_id"} < set(api.params)


async def test_a_stream_asks_only_as_far_as_it_is_read():
    log = Log(*hourly())
    stream = Conversions(Api(conversions=log).session).stream(WEEK, concurrency=2)
    async for _ in stream:
        break
    await stream.aclose()

    assert len(log.asked) == 2


async def test_a_stream_ends_with_the_error_of_its_request():
    def broken(request: httpx.Request) -> Any:
        if request.url.params["date_from"] >= at(3):
            return httpx.Response(500)
        return Log(*hourly())(request)

    stream = Conversions(Api(conversions=broken).session).stream(WEEK, concurrency=2)
    found: list[Any] = []
    with pytest.raises(ServerError):
        await collect(stream, found)

    assert found[-1].id == "c0300"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"window": timedelta()}, "window"),
        ({"window": timedelta(days=-1)}, "window"),
        ({"window": 1}, "window"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"source": ""}, "source"),
        ({"date_range": (1, 2)}, "date_range"),
    ],
)
async def test_a_streams_arguments_are_checked_at_once(options: dict[str, Any], name: str):
    with pytest.raises(InvalidArgumentError, match=rf"^{name} "):
        Conversions(Api().session).stream(**options)
