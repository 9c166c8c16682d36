"""Reading conversions back: `get`, `list`, `stream`, and how records are decoded."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.anytrack.api.conversions import Conversions
from anytrack_async.errors import (
    DecodeError,
    InvalidArgumentError,
    NotFoundError,
    ResponseLimitError,
    ServerError,
)
from anytrack_async.models.conversion import ConversionType
from tests.destinations.anytrack.api.doubles import (
    FakeApi,
    json_records,
    json_values,
    record,
)

WEEK = (date(2026, 1, 1), date(2026, 1, 7))
"""Fields that are not of their type, not even by another way to write it."""

"""Values that a `Conversion` refuses, changes or leaves out."""


def midnight(day: int, hour: int = 0) -> str:
    return datetime(2026, 1, day, hour, tzinfo=UTC).isoformat()


async def collect(stream: AsyncIterable[Any], conversions: list[Any]) -> None:
    async for conversion in stream:
        conversions.append(conversion)


class Log:
    """Responds with the records of the requested range, both ends included, newest first."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = records
        self.ranges: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> dict[str, Any]:
        start, end = request.url.params["date_from"], request.url.params["date_to"]
        self.ranges.append((start, end))
        records = [item for item in self.records if start <= item["timestamp"] <= end]
        return {"data": sorted(records, key=lambda item: item["timestamp"], reverse=True)}


def hourly() -> Iterator[dict[str, Any]]:
    for day in range(1, 8):
        for hour in range(24):
            yield record(id=f"c{day:02}{hour:02}", timestamp=midnight(day, hour))


@pytest.mark.asyncio
class TestGet:
    """One conversion."""

    async def test_a_conversion_is_read(self):
        api = FakeApi(conversions__c1={"data": record(id="c1", custom_data={"event_id": "sale:7"})})
        conversion = await Conversions(api.session).get("c1")

        assert (conversion.id, conversion.event_id) == ("c1", "sale:7")
        assert conversion.timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    async def test_an_id_cannot_lead_to_another_path(self):
        api = FakeApi()
        with pytest.raises(NotFoundError):
            await Conversions(api.session).get("../reports/daily?x=1")

        assert api.requests[0].url.raw_path == b"/v1/conversions/..%2Freports%2Fdaily%3Fx%3D1"

    @pytest.mark.parametrize("id_", ["", " ", ".", "..", None, 7])
    async def test_an_invalid_id_is_not_sent(self, id_: Any):
        api = FakeApi()
        with pytest.raises(InvalidArgumentError, match=r"^conversion_id "):
            await Conversions(api.session).get(id_)

        assert api.requests == []

    async def test_the_error_names_argument_and_type(self):
        number: Any = 7
        with pytest.raises(InvalidArgumentError, match=r"^conversion_id must be text, got int$"):
            await Conversions(FakeApi().session).get(number)

    @pytest.mark.parametrize("body", [{}, [], {"data": None}, {"data": []}, {"data": {}}, "text"])
    async def test_a_response_without_a_conversion_raises_decode_error(self, body: Any):
        with pytest.raises(DecodeError):
            await Conversions(FakeApi(conversions__c1=lambda _: body).session).get("c1")


@pytest.mark.asyncio
class TestList:
    """Lists."""

    async def test_a_list_requests_range_and_filters(self):
        api = FakeApi(conversions={"data": [record(id="c1"), record(id="c2")]})
        conversions = await Conversions(api.session).list(
            WEEK, source="google ads", campaign_id="7"
        )

        assert [conversion.id for conversion in conversions] == ["c1", "c2"]
        assert api.params == {
            "date_from": "2026-01-01T00:00:00+00:00",
            "date_to": "2026-01-07T23:59:59.999999+00:00",
            "source": "google ads",
            "campaign_id": "7",
        }

    async def test_the_default_range_is_thirty_days(self):
        api = FakeApi(conversions={"data": []})
        assert await Conversions(api.session).list() == []

        start, end = (datetime.fromisoformat(api.params[name]) for name in ("date_from", "date_to"))
        assert end - start == timedelta(days=30)
        assert set(api.params) == {"date_from", "date_to"}

    async def test_a_bad_record_is_left_out(self, caplog: pytest.LogCaptureFixture):
        bad = [3, None, {}, record(id="c2", timestamp="yesterday"), record(id="c3", revenue="lots")]
        api = FakeApi(
            conversions={
                "data": [record(id="c1"), *bad, record(id="c4", conversion_type="renewal")]
            }
        )
        conversions = await Conversions(api.session).list(WEEK)

        assert [conversion.id for conversion in conversions] == ["c1", "c4"]
        assert conversions[1].conversion_type is ConversionType.CUSTOM
        assert conversions[1].event_name == "renewal"
        assert len(caplog.records) == 5
        assert "lots" not in caplog.text

    @pytest.mark.parametrize("huge", [False, True])
    async def test_huge_integers_and_deep_values_cost_only_their_record(
        self, huge: bool, caplog: pytest.LogCaptureFixture
    ):
        fields = '"conversion_type": "sale", "timestamp": "2026-01-02T03:04:05Z"'
        deep = "[" * 5_000 + "]" * 5_000
        odd = [
            f'{{"id": "deep", {fields}, "custom_data": {{"a": {deep}}}}}',
            f'{{"id": "huge", {fields}, "revenue": {"9" * 5_000}}}',
            f'{{"id": "ignored", {fields}, "unknown": {{"a": {deep}, "b": {"9" * 5_000}}}}}',
            f'{{"id": {2**64 + 1}, {fields}, "order_id": {2**70 + 1}}}',
        ]
        filling = f', {{"id": "c", {fields}}}' * (1_500 if huge else 0)
        body = f'{{"data": [{", ".join(odd)}{filling}]}}'.encode()
        assert (len(body) > 131_072) is huge
        api = FakeApi(conversions=lambda _: httpx.Response(200, content=body))

        conversions = await Conversions(api.session).list(WEEK)

        assert [conversion.id for conversion in conversions[:2]] == ["ignored", str(2**64 + 1)]
        assert conversions[1].order_id == str(2**70 + 1)
        assert len(conversions) == (1_502 if huge else 2)
        assert [record.getMessage().split("(")[1][:8] for record in caplog.records] == [
            "id deep)",
            "id huge)",
        ]

    @given(json_records | json_values, st.booleans())
    async def test_any_json_costs_at_most_itself(self, item: Any, huge: bool):
        neighbours = [record(id="before"), *[record()] * (800 if huge else 0), record(id="after")]
        body = json.dumps({"data": [neighbours[0], item, *neighbours[1:]]}).encode()
        assert (len(body) > 131_072) is huge  # longer bodies are parsed record by record
        api = FakeApi(conversions=lambda _: httpx.Response(200, content=body))

        conversions = await Conversions(api.session).list(WEEK)

        assert len(conversions) - len(neighbours) in (0, 1)
        assert (conversions[0].id, conversions[-1].id) == ("before", "after")

    async def test_a_response_without_a_list_raises_decode_error(self):
        with pytest.raises(DecodeError, match="expected a list"):
            await Conversions(FakeApi(conversions={"data": {"id": "c1"}}).session).list(WEEK)

    async def test_a_long_list_is_read_in_a_thread(self, monkeypatch: pytest.MonkeyPatch):
        threads = set()

        def spy(records: list[Any], read: Any, mask: Any) -> list[Any]:
            threads.add(threading.get_ident())
            return [read(item) for item in records]

        monkeypatch.setattr("anytrack_async.destinations.anytrack.api.base.read_records", spy)
        api = FakeApi(conversions={"data": [record(id=str(number)) for number in range(51)]})
        conversions = await Conversions(api.session).list(WEEK)

        assert len(conversions) == 51
        assert threading.get_ident() not in threads

    async def test_a_list_over_the_limit_is_read_in_parts_of_its_range(self):
        log = Log(*hourly())
        api = FakeApi(max_body=5_000, conversions=log)  # a fifth of all records
        conversions = await Conversions(api.session).list(WEEK)

        ids = [conversion.id for conversion in conversions]
        assert sorted(ids, key=str) == [item["id"] for item in hourly()]
        assert len(log.ranges) <= 31

    async def test_a_list_that_stays_over_the_limit_is_an_error(self):
        api = FakeApi(max_body=5_000, conversions=lambda _: {"data": [*hourly()]})
        with pytest.raises(ResponseLimitError, match="max_body"):
            await Conversions(api.session).list(WEEK)

        assert len(api.requests) <= 25

    async def test_by_source_filters_by_source(self):
        api = FakeApi(conversions={"data": [record(id="c1")]})
        await Conversions(api.session).by_source("newsletter")

        assert api.params["source"] == "newsletter"

    @pytest.mark.parametrize("name", ["source", "campaign_id"])
    async def test_an_empty_filter_is_an_invalid_argument(self, name: str):
        with pytest.raises(InvalidArgumentError, match=f"^{name} must not be empty"):
            await Conversions(FakeApi().session).list(WEEK, **{name: ""})

    async def test_by_source_needs_a_source(self):
        with pytest.raises(InvalidArgumentError, match=r"^source "):
            await Conversions(FakeApi().session).by_source("")


@pytest.mark.asyncio
class TestStream:
    """Streams."""

    async def test_each_conversion_is_yielded_once_in_order_of_time(self):
        log = Log(*hourly())
        api = FakeApi(conversions=log)
        ids = [conversion.id async for conversion in Conversions(api.session).stream(WEEK)]

        assert ids == [item["id"] for item in hourly()]
        assert len(log.ranges) == 7

    async def test_a_window_over_the_limit_is_read_in_parts(self):
        api = FakeApi(max_body=5_000, conversions=Log(*hourly()))
        stream = Conversions(api.session).stream(WEEK, window=timedelta(days=7))

        assert [item.id async for item in stream] == [item["id"] for item in hourly()]

    async def test_an_odd_or_unreadable_record_costs_no_other(
        self, caplog: pytest.LogCaptureFixture
    ):
        records = [
            record(revenue=[]),
            record(id="c2", timestamp="2026-01-01T01:00:00", revenue=float("nan"), source="\ud83d"),
            {"id": "c3"},
        ]
        body = json.dumps({"data": records})  # with NaN, and with half of a surrogate pair
        api = FakeApi(conversions=lambda _: httpx.Response(200, text=body))
        stream = Conversions(api.session).stream((date(2026, 1, 1), date(2026, 1, 2)))

        assert [(item.id, item.source) async for item in stream] == [
            ("c2", "\ufffd"),
            ("c1", "google"),
        ]
        assert "(id c3): RecordedConversion: field 'timestamp' is missing" in caplog.text

    async def test_windows_have_no_gap(self):
        log = Log()
        async for _ in Conversions(FakeApi(conversions=log).session).stream(WEEK, concurrency=1):
            pass

        assert all(first[1] == second[0] for first, second in pairwise(log.ranges))

    async def test_a_service_that_ignores_the_time_of_day_causes_no_repeats(self):
        def by_day(request: httpx.Request) -> dict[str, Any]:
            params = request.url.params
            first, last = params["date_from"][:10], params["date_to"][:10]
            return {"data": [item for item in hourly() if first <= item["timestamp"][:10] <= last]}

        api = FakeApi(conversions=by_day)
        stream = Conversions(api.session).stream(WEEK, window=timedelta(hours=5))
        ids = [conversion.id async for conversion in stream]

        assert sorted(ids) == [item["id"] for item in hourly()]

    async def test_conversions_without_id_are_all_yielded(self):
        api = FakeApi(conversions={"data": [record(id=None), record(id=None)]})
        stream = Conversions(api.session).stream((date(2026, 1, 1), date(2026, 1, 1)))

        assert len([conversion async for conversion in stream]) == 2

    async def test_a_stream_requests_the_filters(self):
        api = FakeApi(conversions={"data": []})
        stream = Conversions(api.session).stream(WEEK, source="google", campaign_id="7")
        assert [conversion async for conversion in stream] == []

        assert {"source", "campaign_id"} < set(api.params)

    async def test_windows_are_requested_only_as_far_as_needed(self):
        log = Log(*hourly())
        stream = Conversions(FakeApi(conversions=log).session).stream(WEEK, concurrency=2)
        async for _ in stream:
            break
        await stream.aclose()

        assert len(log.ranges) == 2

    async def test_a_failed_request_ends_the_stream_with_its_error(self):
        def broken(request: httpx.Request) -> Any:
            if request.url.params["date_from"] >= midnight(3):
                return httpx.Response(500)
            return Log(*hourly())(request)

        stream = Conversions(FakeApi(conversions=broken).session).stream(WEEK, concurrency=2)
        conversions: list[Any] = []
        with pytest.raises(ServerError):
            await collect(stream, conversions)

        assert conversions[-1].id == "c0300"

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
    async def test_invalid_arguments_are_raised_at_once(self, options: dict[str, Any], name: str):
        with pytest.raises(InvalidArgumentError, match=rf"^{name} "):
            Conversions(FakeApi().session).stream(**options)
