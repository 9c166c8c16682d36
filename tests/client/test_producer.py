"""`DeliverySettings(deliver=False)`: a client that accepts for another process to deliver."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest

from anytrack_async import ConfigurationError, Conversion, DeliverySettings, metrics_app
from tests.client.service import Service

pytestmark = pytest.mark.asyncio

PRODUCER = DeliverySettings(deliver=False, poll=0.01)


def lead(number: int) -> Conversion:
    return Conversion.lead(click_id="c", event_id=f"lead:{number}")


async def test_a_producer_accepts_and_sends_nothing(service: Service, tmp_path: Path, caplog):
    path = tmp_path / "outbox.db"
    async with service.client(outbox=path, delivery=PRODUCER) as producer:
        await producer.submit_many([lead(1), lead(2)])
        await anyio.wait_all_tasks_blocked()
        stats = await producer.stats()

    assert stats.destinations["anytrack"].waiting == 2
    assert stats.destinations["anytrack"].state is None
    assert service.requests == []
    assert "not delivered" not in caplog.text


async def test_a_producer_gets_what_another_client_delivers(service: Service, tmp_path: Path):
    path = tmp_path / "outbox.db"
    async with service.client(outbox=path, delivery=PRODUCER) as producer:
        delivery = await producer.submit(lead(1))
        async with service.client(outbox=path) as consumer:
            report = await delivery
            receipt = await producer.track_lead("c", event_id="lead:2")
            assert consumer.is_open

    assert report.delivered
    assert receipt.conversion_id == "at-lead:2"


async def test_a_full_producer_goes_on_when_another_client_has_made_room(
    service: Service, tmp_path: Path
):
    from anytrack_async import SQLiteOutbox

    path = tmp_path / "outbox.db"
    outbox = SQLiteOutbox(path, capacity=2)
    async with service.client(outbox=outbox, delivery=PRODUCER) as producer:
        await producer.submit_many([lead(1), lead(2)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(producer.submit, lead(3))
            await anyio.wait_all_tasks_blocked()
            async with service.client(outbox=path):
                with anyio.fail_after(30):
                    await (await producer.submit(lead(4)))

    assert len(service.bodies()) == 4


async def test_a_producer_needs_an_outbox_that_others_can_open(service: Service):
    with pytest.raises(ConfigurationError, match=r"no other process can deliver.*anytrack deliver"):
        service.client(delivery=PRODUCER)


async def test_a_producer_is_ready(service: Service, tmp_path: Path):
    client = service.client(outbox=tmp_path / "outbox.db", delivery=PRODUCER)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(metrics_app(client)), base_url="http://test"
    ) as http:
        assert (await http.get("/readyz")).status_code == 503
        async with client:
            assert (await http.get("/readyz")).status_code == 200
