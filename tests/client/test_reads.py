"""Reads: each method sends the right request and returns models."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from anytrack_async import (
    ClosedError,
    ConfigurationError,
    Conversion,
    CredentialsError,
    DecodeError,
    HttpSettings,
    InvalidArgumentError,
    NotFoundError,
    RateLimitedError,
    Retry,
    ServerError,
    TransportError,
)
from anytrack_async.client.export_formats import CSV_COLUMNS
from tests.client.service import SECRETS, Service

pytestmark = pytest.mark.asyncio

RANGE = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC))


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "click_id": "k1",
        "conversion_type": "sale",
        "revenue": "49.90",
        "currency": "EUR",
        "source": "google",
        "campaign_id": "42",
        "timestamp": "2026-01-01T03:00:00",
        **changes,
    }


def asked(service: Service) -> tuple[str, dict[str, str]]:
    return service.last.url.path, dict(service.last.url.params)


async def test_conversions_in_a_range(service: Service):
    service.answer("/v1/conversions", {"data": [record(), record(id="c2"), {"bad": 1}]})

    async with service.client() as client:
        conversions = await client.get_conversions(RANGE, source="google", campaign_id="42")

    assert [conversion.id for conversion in conversions] == ["c1", "c2"]
    assert conversions[0].revenue == Decimal("49.90")
    assert asked(service) == (
        "/v1/conversions",
        {
            "date_from": "2026-01-01T00:00:00+00:00",
            "date_to": "2026-01-01T12:00:00+00:00",
            "source": "google",
            "campaign_id": "42",
        },
    )


async def test_the_default_range_is_the_last_thirty_days(service: Service):
    service.answer("/v1/conversions", {"data": []})

    async with service.client() as client:
        assert await client.get_conversions_by_source("google") == []

    _, query = asked(service)
    first, last = (datetime.fromisoformat(query[name]) for name in ("date_from", "date_to"))
    assert query["source"] == "google"
    assert last - first == timedelta(days=30)
    assert abs(datetime.now(UTC) - last) < timedelta(minutes=1)


async def test_a_single_conversion(service: Service):
    service.answer("/v1/conversions/c1", {"data": record()})

    async with service.client() as client:
        assert (await client.get_conversion_details("c1")).click_id == "k1"


async def test_conversions_as_a_stream(service: Service):
    service.answer("/v1/conversions", {"data": [record(id="c2"), record()]})

    async with service.client() as client:
        ids = [
            conversion.id async for conversion in client.stream_conversions(RANGE, source="google")
        ]

    assert ids == ["c2", "c1"]
    assert asked(service)[1]["source"] == "google"


async def test_attribution(service: Service):
    service.answer("/v1/conversions/c1/attribution", {"model": "linear", "weights": {"a": 0.5}})

    async with service.client() as client:
        attribution = await client.calculate_attribution("c1")

    assert (attribution.model, attribution.weights) == ("linear", {"a": 0.5})


async def test_touchpoints_in_time_order(service: Service):
    points = [
        {"type": "click", "source": "b", "timestamp": "2026-01-02T00:00:00"},
        {"type": "view", "source": "a", "timestamp": "2026-01-01T00:00:00", "campaign_id": "4"},
    ]
    service.answer("/v1/conversions/c1/touchpoints", {"data": points})

    async with service.client() as client:
        assert [point.source for point in await client.get_touchpoints("c1")] == ["a", "b"]


async def test_the_performance_of_an_affiliate(service: Service):
    service.answer("/v1/affiliates/performance", {"data": {"clicks": 10, "epc": "0.5"}})

    async with service.client() as client:
        affiliate = await client.get_affiliate_performance("a1", RANGE)

    assert (affiliate.affiliate_id, affiliate.clicks, affiliate.epc) == ("a1", 10, Decimal("0.5"))
    assert asked(service)[1]["affiliate_id"] == "a1"


async def test_the_best_affiliates(service: Service):
    best = [{"affiliate_id": "a", "epc": 1}, {"affiliate_id": "b", "epc": 2}]
    service.answer("/v1/affiliates/top", {"data": best})

    async with service.client() as client:
        affiliates = await client.get_top_affiliates("epc", 5, RANGE)

    assert [affiliate.affiliate_id for affiliate in affiliates] == ["b", "a"]
    query = asked(service)[1]
    assert (query["sort_by"], query["limit"]) == ("epc", "5")


async def test_a_daily_report(service: Service):
    service.answer("/v1/reports/daily", {"total_revenue": "5.50", "total_conversions": 2})

    async with service.client() as client:
        report = await client.get_daily_report(date(2026, 1, 2))

    assert (report.date, report.total_revenue) == (date(2026, 1, 2), Decimal("5.50"))
    assert asked(service) == ("/v1/reports/daily", {"date": "2026-01-02"})


async def test_a_csv_export(service: Service, tmp_path: Path):
    service.answer("/v1/conversions", {"data": [record(source="=1+1")]})
    path = tmp_path / "out.txt"

    async with service.client() as client:
        assert await client.export_conversions_csv(path, RANGE, campaign_id="42") == 1

    text = (await anyio.Path(path).read_bytes()).decode()
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == CSV_COLUMNS
    assert row[5] == "'=1+1"
    assert asked(service)[1]["campaign_id"] == "42"


async def test_the_files_suffix_selects_the_export_format(service: Service, tmp_path: Path):
    service.answer("/v1/conversions", {"data": [record()]})
    path = tmp_path / "out.jsonl"

    async with service.client() as client:
        assert await client.export_conversions(path, RANGE, source="google") == 1
        with pytest.raises(ConfigurationError, match="cannot export as 'xlsx'"):
            await client.export_conversions(tmp_path / "out.xlsx")

    assert orjson.loads(await anyio.Path(path).read_bytes())["revenue"] == "49.90"


# Errors


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, CredentialsError), (404, NotFoundError), (429, RateLimitedError), (500, ServerError)],
)
async def test_a_failure_has_its_class_and_no_secret(
    status: int, error: type[Exception], service: Service
):
    service.refuse(status, f"bad key {SECRETS[0]}-0123456789", path="/v1/conversions/c1")

    async with service.client() as client:
        with pytest.raises(error) as caught:
            await client.get_conversion_details("c1")

    assert caught.value.status == status  # type: ignore[attr-defined]
    assert SECRETS[0] not in f"{caught.value!s} {caught.value!r}"


async def test_a_failed_connection_is_a_transport_error(service: Service):
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    service.answers["/v1/conversions/c1"] = broken

    async with service.client() as client:
        with pytest.raises(TransportError, match=r"anytrack: connection to \S+ failed"):
            await client.get_conversion_details("c1")


async def test_reads_are_retried(service: Service):
    answers = iter([httpx.Response(503), httpx.Response(200, json={"data": record()})])
    service.answers["/v1/conversions/c1"] = lambda _: next(answers)
    http = HttpSettings(retry=Retry(attempts=2, base=0.001))

    async with service.client(http=http) as client:
        assert (await client.get_conversion_details("c1")).id == "c1"


async def test_a_response_that_is_not_json_is_a_decode_error(service: Service):
    service.answers["/v1/conversions/c1"] = lambda _: httpx.Response(200, text="<html>")

    async with service.client() as client:
        with pytest.raises(DecodeError, match="is not JSON"):
            await client.get_conversion_details("c1")


async def test_a_wrong_argument_costs_no_request(service: Service):
    async with service.client() as client:
        for call in (
            client.get_conversion_details(""),
            client.get_conversions_by_source(""),
            client.get_conversions((datetime(2026, 1, 1), datetime(2026, 1, 2))),
            client.get_top_affiliates("clicks"),  # type: ignore[arg-type]
        ):
            with pytest.raises(InvalidArgumentError):
                await call
    assert service.requests == []


# Open and closed


async def test_reads_are_closed_and_reopened_with_the_client(service: Service, tmp_path: Path):
    service.answer("/v1/conversions/c1", {"data": record()})
    client = service.client()
    assert (await client.get_conversion_details("c1")).id == "c1"
    async with client:
        assert (await client.get_conversion_details("c1")).id == "c1"

    for read in (
        lambda: client.get_conversion_details("c1"),
        lambda: client.conversions.list(),
        lambda: anext(client.stream_conversions(RANGE)),
        lambda: client.get_daily_report(),
        lambda: client.export_conversions(tmp_path / "out.csv", RANGE),
    ):
        with pytest.raises(ClosedError, match="inside its `async with` block"):
            await read()
    assert len(service.requests) == 2
    assert not await anyio.Path(tmp_path / "out.csv").exists()

    async with client:
        assert (await client.get_conversion_details("c1")).id == "c1"


async def test_reads_work_while_closing_delivers_the_remaining_conversions(service: Service):
    service.answer("/v1/conversions/c1", {"data": record()})
    service.gate = anyio.Event()
    ids: list[str] = []

    async def read() -> None:
        await anyio.wait_all_tasks_blocked()  # the block is left, and its lane waits for an answer
        ids.append((await client.get_conversion_details("c1")).id)
        service.gate.set()

    async with anyio.create_task_group() as tasks:
        async with service.client() as client:
            await client.submit(Conversion.lead())
            tasks.start_soon(read)

    assert ids == ["c1"]
