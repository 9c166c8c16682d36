"""`metrics_app`: metrics, health and readiness of a client, an outbox and a file."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from anytrack_async import (
    ConfigurationError,
    Conversion,
    Event,
    LaneHeld,
    MemoryOutbox,
    SQLiteOutbox,
    UndeliveredError,
    metrics_app,
)
from anytrack_async.outbox.pauses import Pause, save_pause
from anytrack_async.testing.outbox_rules.base import LEASE, sales
from tests.client.service import Service
from tests.web_console.conftest import fill_with_three_sales

pytestmark = pytest.mark.asyncio


def browser(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def samples(app) -> dict[tuple[str, ...], float]:
    """Return (name, label values…) → value of ``/metrics``."""
    async with browser(app) as http:
        response = await http.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


@pytest_asyncio.fixture
async def path(tmp_path: Path) -> Path:
    await fill_with_three_sales(tmp_path / "outbox.db")
    return tmp_path / "outbox.db"


async def test_a_file_that_no_client_has_open_has_metrics(path):
    app = metrics_app(path)

    values = await samples(app)
    await app.aclose()

    assert values["anytrack_outbox_waiting", "meta"] == 1
    assert values["anytrack_outbox_retrying", "meta"] == 1
    assert values["anytrack_outbox_dead", "meta"] == 1
    assert values["anytrack_delivered_total", "meta"] == 1
    assert values["anytrack_outbox_waiting", "hubspot"] == 3
    assert values["anytrack_outbox_oldest_age_seconds", "hubspot"] > 0


async def test_metrics_of_a_file_follow_what_another_process_does(path):
    app = metrics_app(path)
    assert (await samples(app))["anytrack_outbox_waiting", "hubspot"] == 3

    worker = SQLiteOutbox(path)
    await worker.open([])
    await worker.settle(await worker.claim("hubspot", 3, LEASE))
    await worker.aclose()

    values = await samples(app)
    await app.aclose()
    assert values["anytrack_outbox_waiting", "hubspot"] == 0
    assert values["anytrack_outbox_oldest_age_seconds", "hubspot"] == 0
    assert values["anytrack_delivered_total", "hubspot"] == 3


async def test_a_client_adds_its_counters_and_lanes():
    service = Service()
    service.refuse(422, "no click", path="/v1/conversions")
    async with service.client() as client:
        await (await client.submit(Conversion.lead(click_id="c1", event_id="lead:1")))
        values = await samples(metrics_app(client))

    assert values["anytrack_submitted_total",] == 1
    assert values["anytrack_dead_lettered_total", "anytrack"] == 1
    assert values["anytrack_outbox_dead", "anytrack"] == 1
    assert values["anytrack_lane_state", "anytrack", "running"] == 1
    assert values["anytrack_lane_state", "anytrack", "held"] == 0


class HeldWatcher:
    """An observer with an event that is set when a lane is held."""

    def __init__(self) -> None:
        self.held = anyio.Event()

    def notify(self, event: Event) -> None:
        if isinstance(event, LaneHeld):
            self.held.set()


async def test_a_held_lane_does_not_make_a_process_unready():
    service, watcher = Service(), HeldWatcher()
    service.refuse(401)
    client = service.client(observers=[watcher])
    await client.start()
    await client.submit(Conversion.lead(click_id="c1"))
    with anyio.fail_after(30):
        await watcher.held.wait()

    async with browser(metrics_app(client)) as http:
        response = await http.get("/readyz")
    with pytest.raises(UndeliveredError):
        await client.aclose()

    assert response.status_code == 200
    assert response.json()["held"] == ["anytrack"]
    assert response.json()["lanes"]["anytrack"]["state"] == "held"
    assert "s3cret" not in response.text


async def test_a_closed_client_is_healthy_but_not_ready():
    async with browser(metrics_app(Service().client())) as http:
        health, ready = await http.get("/healthz"), await http.get("/readyz")

    assert (health.status_code, ready.status_code) == (200, 503)
    assert ready.json()["status"] == "unavailable"
    assert "open" in ready.json()["error"]


async def test_a_file_that_does_not_exist_is_told_and_not_created(tmp_path):
    path = tmp_path / "missing.db"
    async with browser(metrics_app(path)) as http:
        responses = [await http.get(page) for page in ("/readyz", "/metrics")]

    for response in responses:
        assert response.status_code == 503
        assert "does not exist" in response.json()["error"]
    assert not path.exists()


async def test_an_open_outbox_object_needs_no_client():
    outbox = MemoryOutbox()
    await outbox.open(["meta"])
    await outbox.append(sales(1))

    assert (await samples(metrics_app(outbox)))["anytrack_outbox_waiting", "meta"] == 1
    await outbox.aclose()


async def test_it_works_mounted_under_a_prefix_and_with_a_lifespan(path):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    app = Starlette(routes=[Mount("/internal", metrics_app(path))])
    async with browser(app) as http:
        assert (await http.get("/internal/readyz")).status_code == 200
        assert (await http.get("/internal/nothing")).status_code == 404
        assert (await http.post("/internal/metrics")).status_code == 405
        assert (await http.head("/internal/metrics")).content == b""

    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []
    alone = metrics_app(path)
    await samples(alone)

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await alone({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_an_outbox_that_does_not_answer_is_unavailable(monkeypatch):
    outbox = MemoryOutbox()
    await outbox.open(["meta"])
    monkeypatch.setattr(outbox, "depths", anyio.sleep_forever)
    monkeypatch.setattr("anytrack_async.monitoring.app._READ_WITHIN", 0.01)

    async with browser(metrics_app(outbox)) as http:
        response = await http.get("/readyz")

    assert response.status_code == 503
    assert "did not answer" in response.json()["error"]


async def test_without_prometheus_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)

    with pytest.raises(ConfigurationError, match=re.escape("anytrack_async[metrics]")):
        metrics_app(MemoryOutbox())


async def test_an_outbox_in_memory_has_no_path():
    with pytest.raises(ConfigurationError, match="pass the client"):
        metrics_app(":memory:")


async def test_a_pause_is_in_metrics_and_readiness(path):
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    await save_pause(outbox, "meta", Pause(destination="meta", since=1e9, by='an"na', reason="new"))
    async with browser(metrics_app(outbox)) as http:
        ready = (await http.get("/readyz")).json()
    values = await samples(metrics_app(outbox))
    await outbox.aclose()

    assert values["anytrack_paused_since_timestamp_seconds", 'an"na', "meta"] == 1e9
    since = "2001-09-09T01:46:40+00:00"
    assert ready["paused"] == {"meta": {"since": since, "by": 'an"na', "reason": "new"}}
