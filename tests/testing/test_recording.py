"""The testing kit: recording client and sink, the sandbox without a port, the manual clock."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from anytrack_async import ConfigurationError, Conversion, Outcome, Throttled
from anytrack_async.sandbox import Faults, in_thread
from anytrack_async.testing import (
    LocalSandbox,
    ManualClock,
    RecordingClient,
    RecordingSink,
    assert_tracked,
)

pytestmark = pytest.mark.asyncio


def sale(order: str, **fields) -> Conversion:
    return Conversion.sale(revenue="49.90", order_id=order, ip_address="203.0.113.5", **fields)


async def test_a_conversion_reaches_every_service_and_is_remembered():
    async with RecordingClient() as client:
        await client.track_sale(revenue="49.90", order_id="1", ip_address="203.0.113.5")
        await client.submit_many([sale("2"), sale("1")])  # the second is a repeat

        first = await assert_tracked(client, order_id="1", to=["anytrack", "meta", "hubspot"])
        await assert_tracked(client, order_id="2", to=["meta"])

    assert first.revenue == Decimal("49.90")
    assert [conversion.order_id for conversion in client.accepted] == ["1", "2"]
    assert client.sandbox.ledger(ids=True)["meta"]["ids"] == {"sale:1": 1, "sale:2": 1}


async def test_an_application_may_use_fewer_destinations():
    async with RecordingClient([]) as client:
        await client.submit(sale("1"))
        await assert_tracked(client, order_id="1")

    assert client.sandbox.payloads("meta") == []


async def test_payloads_are_what_the_service_received_and_can_be_masked():
    async with RecordingClient(["meta"]) as client:
        await client.submit(sale("1", user_agent="Firefox"))
        await assert_tracked(client, order_id="1", to=["meta"])

    (raw,), (masked,) = (client.sandbox.payloads("meta", masked=flag) for flag in (False, True))
    assert raw.status == 200
    assert raw.body["data"][0]["user_data"]["client_user_agent"] == "Firefox"
    assert raw.body["data"][0]["user_data"]["client_ip_address"] == "203.0.113.5"
    assert "Firefox" not in str(masked)
    assert "203.0.113.5" not in str(masked)
    assert (
        masked.body["data"][0]["custom_data"]["value"]
        == raw.body["data"][0]["custom_data"]["value"]
    )
    assert masked.body["data"][0]["event_id"] == "sale:1"


async def test_the_log_of_payloads_is_bounded(monkeypatch):
    monkeypatch.setattr("anytrack_async.sandbox.payloads._MAX_ENTRIES", 2)
    async with RecordingClient([]) as client:
        for order in ("1", "2", "3"):
            await client.track_sale(revenue=1, order_id=order)

    bodies = [payload.body["order_id"] for payload in client.sandbox.payloads("anytrack")]
    assert bodies == ["2", "3"]


async def test_a_sandbox_with_a_port_has_the_payloads_too(monkeypatch):
    from anytrack_async import AnyTrackClient

    with in_thread() as sandbox:
        async with AnyTrackClient.from_env(sandbox.environment()) as client:
            await client.track_sale(revenue=1, order_id="7", ip_address="203.0.113.5")
        (masked,) = sandbox.payloads("anytrack")
        (raw,) = sandbox.payloads("anytrack", masked=False)

    assert raw["body"]["order_id"] == masked["body"]["order_id"] == "7"
    assert "203.0.113.5" not in str(masked)


async def test_faults_outages_and_tokens_can_be_set():
    sandbox = LocalSandbox()
    async with RecordingClient([], sandbox=sandbox) as client:
        sandbox.inject(Faults(rate=1.0, kinds=("error",)))
        await client.submit(sale("1"))
        with pytest.raises(AssertionError, match="anytrack did not accept it: waiting"):
            await assert_tracked(client, order_id="1", timeout=0.05)
        sandbox.inject(Faults())
        await assert_tracked(client, order_id="1")

        sandbox.down("anytrack")
        await client.submit(sale("2"))
        sandbox.down("anytrack", down=False)
        await assert_tracked(client, order_id="2")

        sandbox.accept_tokens("anytrack", "another")
        await client.submit(sale("3"))
        client.use_token("anytrack", "another")
        await assert_tracked(client, order_id="3")


async def test_a_recording_sink_fails_as_told_then_accepts():
    sink = RecordingSink("warehouse")
    sink.fail_next(Throttled("busy", after=0.001), Outcome.rejected("no", code="E7"))
    async with RecordingClient([], sinks=[sink]) as client:
        first = await client.submit(sale("1"))
        assert (await first.at("warehouse")).code == "E7"
        await client.submit(sale("2"))
        await assert_tracked(client, order_id="2", to=["warehouse"])

    assert [conversion.order_id for conversion in sink.conversions] == ["2"]


async def test_an_unknown_destination_is_refused():
    with pytest.raises(ConfigurationError, match=r"'pigeon'.*it has anytrack, meta, hubspot"):
        LocalSandbox().sinks("pigeon")


async def test_a_manual_clock_stands_still_until_it_is_moved():
    clock = ManualClock(1_700_000_000.0)
    clock.advance(30, days=1)

    assert clock() == 1_700_086_430.0
    assert clock.time == datetime(2023, 11, 15, 22, 13, 50, tzinfo=UTC)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
