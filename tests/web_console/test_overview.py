"""The overview: the loudest destination first, states in words, rates, and what breaks."""

from __future__ import annotations

import re

import anyio
import pytest

from anytrack_async import (
    Conversion,
    DestinationStats,
    Event,
    LaneHeld,
    LaneState,
    MemoryOutbox,
    UndeliveredError,
    console,
)
from anytrack_async.outbox.base import Depth
from anytrack_async.web_console import texts
from anytrack_async.web_console.overview import Rates, make_card
from tests.client.service import Service
from tests.web_console.conftest import browser

pytestmark = pytest.mark.asyncio


class HeldWatcher:
    """An observer with an event that is set when a lane is held."""

    def __init__(self) -> None:
        self.held = anyio.Event()

    def notify(self, event: Event) -> None:
        if isinstance(event, LaneHeld):
            self.held.set()


async def test_a_file_without_any_worker_is_shown(path):
    app = console(path)
    async with browser(app) as http:
        page = (await http.get("/")).text
    await app.aclose()

    hubspot, meta = re.findall(r"<article.*?</article>", page, re.DOTALL)
    assert "nothing is sending" in hubspot
    assert "<dt>Waiting</dt><dd>3</dd>" in hubspot
    assert "retrying" in meta
    assert '<a href="dead-letters?destination=meta">1</a>' in meta
    assert "<dt>Delivered</dt><dd>1</dd>" in meta
    assert "outbox.db" in page
    assert str(path.parent) not in page


async def test_a_client_tells_the_state_of_its_lanes_in_the_destinations_words():
    service, watcher = Service(), HeldWatcher()
    service.refuse(401, "this key is revoked")
    client = service.client(sinks=[service.meta()], observers=[watcher])
    await client.start()
    await client.submit(Conversion.lead(click_id="c1"))
    with anyio.fail_after(30):
        await watcher.held.wait()
    async with browser(console(client)) as http:
        page = (await http.get("/")).text
    client.limit_drain(0)
    with pytest.raises(UndeliveredError):
        await client.aclose()

    assert page.index("anytrack</h2>") < page.index("meta</h2>")  # the loudest first
    assert "this key is revoked" in page
    assert "held" in page
    assert "up to date" in page


async def test_an_outbox_that_cannot_be_read_is_said_on_the_page(tmp_path):
    app = console(tmp_path / "nowhere.db")
    async with browser(app) as http:
        page = await http.get("/")

    assert page.status_code == 503
    assert "nowhere.db does not exist" in page.text


async def test_an_outbox_without_destinations_says_so():
    outbox = MemoryOutbox()
    await outbox.open([])
    async with browser(console(outbox)) as http:
        page = await http.get("/")
    await outbox.aclose()

    assert "No destination is registered in this outbox yet" in page.text


@pytest.mark.parametrize(
    ("depth", "lane", "rate", "state"),
    [
        (Depth(), None, None, texts.IDLE),
        (Depth(waiting=3), None, None, texts.NO_WORKER),
        (Depth(waiting=3, in_flight=1), None, None, texts.DELIVERING),
        (Depth(waiting=3), None, 0.5, texts.DELIVERING),
        (Depth(waiting=3, retrying=3), None, None, texts.RETRYING),
        (Depth(waiting=3), LaneState.RUNNING, None, texts.DELIVERING),
        (Depth(), LaneState.DOWN, None, texts.DOWN),
        (Depth(), LaneState.HELD, None, texts.HELD),
        (Depth(waiting=3), LaneState.THROTTLED, None, texts.THROTTLED),
    ],
)
async def test_the_state_of_a_destination(depth, lane, rate, state):
    stats = None if lane is None else DestinationStats(state=lane)

    assert make_card("meta", depth, stats, rates=(None, rate)).state is state


async def test_rates_are_measured_over_the_last_minute():
    rates = Rates()
    rates.add(0, {"meta": Depth(waiting=500)}, {"meta": 0})
    rates.add(10, {"meta": Depth(waiting=400)}, {"meta": 300})
    assert rates.of("meta") == (20, 30)
    rates.add(70, {"meta": Depth(waiting=100)}, {"meta": 1_500})

    assert rates.of("meta") == (15, 20)  # the first sample is too old
    assert rates.of("hubspot") == (None, None)


async def test_without_a_second_sample_there_is_no_rate():
    rates = Rates()
    rates.add(0, {"meta": Depth()}, {"meta": 1})

    assert rates.of("meta") == (None, None)


@pytest.mark.parametrize("moment", [float("inf"), float("nan"), -1e30, 1e30, 0.0])
async def test_a_time_that_is_no_date_breaks_no_page(moment):
    assert len(texts.when(moment)) == len("2026-11-27 14:03:05")
    assert texts.iso(moment).endswith("+00:00")
    assert texts.duration(moment)
    assert texts.ago(moment)
