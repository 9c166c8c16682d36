"""A client sends to the sandbox's collect endpoint over a socket, with and without an API key."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from anytrack_async import (
    AnyTrackClient,
    CollectSink,
    ConfigurationError,
    CredentialsError,
    DeadLetterError,
    MetaSink,
)
from anytrack_async.cli.app import app
from anytrack_async.sandbox import Sandbox, in_thread
from tests.destinations.collect.doubles import sale


@pytest.fixture(scope="module")
def services():
    with in_thread() as services:
        yield services


@pytest.fixture
def sandbox(services: Sandbox):
    services.reset()
    return services


@pytest.mark.asyncio
async def test_a_client_without_an_api_key_tracks_and_waits_for_the_endpoint(sandbox):
    async with AnyTrackClient(collect=sandbox.collect_url) as client:
        receipt = await client.track_sale("c1", "9.90", order_id="1")

    assert receipt.attempts == 1
    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == {"sale:1": 1}


@pytest.mark.asyncio
async def test_the_same_order_is_recorded_once(sandbox):
    async with AnyTrackClient(collect=sandbox.collect_url) as client:
        for event_id in ("first", "second"):
            await client.track_conversion(sale(click_id="c", event_id=event_id))

    page = sandbox.ledger()["anytrack"]
    assert (page["unique"], page["duplicates"]) == (1, 1)


@pytest.mark.asyncio
async def test_an_unknown_click_is_a_dead_letter_with_the_reason(sandbox):
    async with AnyTrackClient(collect=sandbox.collect_url) as client:
        with pytest.raises(DeadLetterError, match="does not know the click id"):
            await client.track_conversion(sale(click_id="unknown-click"))
        with pytest.raises(DeadLetterError, match="AnyTrack needs a click id"):
            await client.track_conversion(sale(order_id="2"))

    assert sandbox.ledger()["anytrack"]["rejected"] == {"no_match": 1}


@pytest.mark.asyncio
async def test_reading_needs_an_api_key(sandbox):
    async with AnyTrackClient(collect=sandbox.collect_url) as client:
        await client.track_sale("c1", "9.90", order_id="1")
        for read in (client.get_conversions(), client.get_daily_report()):
            with pytest.raises(ConfigurationError, match="needs an API key"):
                await read

    keys = {name: value for name, value in sandbox.environment().items() if "ANYTRACK" in name}
    both = {**keys, "ANYTRACK_COLLECT_URL": sandbox.collect_url}
    async with AnyTrackClient.from_env(both) as client:
        await client.track_sale("c1", "5", order_id="2")
        amounts = [str(item.revenue) for item in await client.get_conversions()]
        client.use_api_key("wrong-key")
        with pytest.raises(CredentialsError):
            await client.get_conversions()

    assert sorted(amounts) == ["5.00", "9.90"]
    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == {"sale:1": 1, "sale:2": 1}


@pytest.mark.asyncio
async def test_the_environment_alone_is_enough(sandbox):
    async with AnyTrackClient.from_env(sandbox.environment(collect=True)) as client:
        assert repr(client) == "<AnyTrackClient: anytrack, meta, hubspot>"
        report = await (await client.submit(sale(click_id="c", customer=None, ip_address=None)))

    assert report.outcomes["anytrack"].status == "delivered"


def test_what_collect_may_be_is_checked(sandbox):
    for wrong in (7, MetaSink, CollectSink.from_url(sandbox.collect_url, name="collect")):
        with pytest.raises(ConfigurationError, match="collect"):
            AnyTrackClient(collect=wrong)
    with pytest.raises(ConfigurationError, match="two sinks share a name"):
        AnyTrackClient("k", "a", sinks=[CollectSink.from_url(sandbox.collect_url)])
    with pytest.raises(ConfigurationError, match="account_id is missing"):
        AnyTrackClient("k", collect=sandbox.collect_url)


@pytest.fixture
def run(monkeypatch, sandbox):
    for name in sandbox.environment():
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, **variables):
        return CliRunner().invoke(app, arguments, env=variables)

    return run


def test_the_commands_know_the_collect_url(run, sandbox):
    good = run("check", ANYTRACK_COLLECT_URL=sandbox.collect_url)
    bad = run("check", ANYTRACK_COLLECT_URL=sandbox.collect_url + "-other")
    listed = run("destinations", "--json", ANYTRACK_COLLECT_URL=sandbox.collect_url)
    tracked = run(
        *("track", "sale", "--click-id", "c1", "--revenue", "9.90", "--order-id", "7"),
        ANYTRACK_COLLECT_URL=sandbox.collect_url,
    )

    assert (good.exit_code, good.output.count("ok ")) == (0, 1), good.output
    assert "anytrack-collect: collect URL: AnyTrack answers there" in good.output
    assert bad.exit_code == 1
    assert "is the collect URL (ANYTRACK_COLLECT_URL) right?" in bad.output
    states = {row["name"]: row["state"] for row in json.loads(listed.output)}
    assert states["anytrack-collect"] == "configured"
    assert states["anytrack"] == "not configured"
    assert tracked.exit_code == 0, tracked.output
    assert sandbox.ledger(ids=True)["anytrack"]["ids"] == {"sale:7": 1}
