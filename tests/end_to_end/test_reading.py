"""Conversions that AnyTrack has although they could not be sent: read, exported and sent on."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson
import pytest

from anytrack_async import AnyTrackClient, Conversion, ConversionType, InvalidConversionError
from anytrack_async.models.plain import to_conversion
from anytrack_async.sandbox import Sandbox
from anytrack_async.sandbox.anytrack import service
from anytrack_async.sandbox.server import in_thread
from tests.end_to_end.conftest import Connect

pytestmark = pytest.mark.asyncio

EVENT = "Completed the onboarding questionnaire and booked a demo call"
ODD: dict[str, Any] = {
    "conversion_type": EVENT,
    "revenue": "-49.90",
    "currency": "USDT",
    "click_id": "k" * 2000,
    "source": "s" * 5000,
    "campaign_id": "c" * 5000,
    "ad_id": "a" * 5000,
    "ip_address": "10.0.0.7",
    "user_agent": "u" * 5000,
    "sub_ids": {"s1": "v" * 5000},
}
BAD = {"conversion_type": "sale", "revenue": "5", "sub_ids": {"s1": ["jane@example.com"]}}
GOOD = {"conversion_type": "sale", "revenue": "5.00", "currency": "EUR", "click_id": "k1"}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that stores whatever it gets."""
    monkeypatch.setattr(service, "find_problems", lambda _: {})
    with in_thread() as sandbox:
        yield sandbox


async def store(sandbox: Sandbox, *records: dict[str, Any]) -> list[str]:
    """Store *records* in the sandbox and return their ids."""
    environ = sandbox.environment()
    headers = {
        "Authorization": f"Bearer {environ['ANYTRACK_API_KEY']}",
        "X-Account-ID": environ["ANYTRACK_ACCOUNT_ID"],
    }
    async with httpx.AsyncClient(base_url=environ["ANYTRACK_BASE_URL"], headers=headers) as http:
        responses = [await http.post("/conversions", json=record) for record in records]
    return [response.json()["conversion_id"] for response in responses]


def assert_odd(conversion: Conversion) -> None:
    assert (conversion.conversion_type, conversion.event_name) == (ConversionType.CUSTOM, EVENT)
    assert (conversion.revenue, conversion.currency) == (Decimal("-49.90"), "USDT")
    rest = ODD.keys() - {"conversion_type", "revenue", "currency"}
    assert {name: getattr(conversion, name) for name in rest} == {name: ODD[name] for name in rest}


async def read_lists(client: AnyTrackClient) -> list[list[Conversion]]:
    """The stored conversions, by each way to read a list of them."""
    return [
        await client.get_conversions(),
        await client.get_conversions_by_source(ODD["source"]),
        [conversion async for conversion in client.stream_conversions()],
    ]


async def test_odd_conversions_are_read(
    sandbox: Sandbox, connect: Connect, caplog: pytest.LogCaptureFixture
):
    odd, bad, good = await store(sandbox, ODD, BAD, GOOD)

    with caplog.at_level(logging.WARNING, "anytrack_async"):
        async with connect() as client:
            all_, by_source, streamed = await read_lists(client)
            assert_odd(await client.get_conversion_details(odd))

    assert {conversion.id for conversion in all_} == {odd, good}
    assert [conversion.id for conversion in streamed] == [odd, good]
    assert [conversion.id for conversion in by_source] == [odd]
    for conversions in (all_, by_source, streamed):
        assert_odd(next(conversion for conversion in conversions if conversion.id == odd))
    assert caplog.text.count(f"(id {bad}): RecordedConversion: must be text") == 2
    assert "jane" not in caplog.text


async def test_odd_conversions_are_exported(sandbox: Sandbox, connect: Connect, tmp_path: Path):
    odd, _, good = await store(sandbox, ODD, BAD, GOOD)
    table, lines = tmp_path / "out.csv", tmp_path / "out.jsonl"

    async with connect() as client:
        assert await client.export_conversions_csv(table) == 2
        assert await client.export_conversions(lines) == 2

    rows = list(csv.DictReader((await anyio.Path(table).read_text()).splitlines()))
    assert [row["id"] for row in rows] == [odd, good]
    names = ("revenue", "currency", "click_id", "source", "campaign_id", "ad_id", "ip_address")
    assert {name: rows[0][name] for name in names} == {name: ODD[name] for name in names}

    first, second = map(orjson.loads, (await anyio.Path(lines).read_bytes()).splitlines())
    assert (first["id"], first["event_name"], first["revenue"]) == (odd, EVENT, "-49.90")
    assert first["sub_ids"] == ODD["sub_ids"]
    assert (to_conversion(second).id, to_conversion(second).revenue) == (good, Decimal("5.00"))


async def test_only_what_is_valid_is_sent_on(sandbox: Sandbox, connect: Connect):
    odd, good = await store(sandbox, ODD, {**GOOD, "ip_address": "203.0.113.9"})

    async with connect() as client:
        report = await (await client.submit(await client.get_conversion_details(good)))
        with pytest.raises(InvalidConversionError) as caught:
            await client.submit(await client.get_conversion_details(odd))

    assert report.outcomes["anytrack"].final, report
    for name in ("revenue", "currency", "event_name"):
        assert f"{name} must" in str(caught.value)
