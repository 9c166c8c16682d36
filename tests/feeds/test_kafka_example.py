"""The recipe for Kafka loses nothing, however partitions move and processes end."""

from __future__ import annotations

import random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anytrack_async import OutboxError, PumpCounts, pump
from anytrack_async.feeds import pump as pump_module
from tests.feeds.kafka_group import Consumer, Group
from tests.feeds.test_examples import load, message

pytestmark = pytest.mark.asyncio

ORDERS = 60


@pytest.mark.parametrize("seed", range(4))
async def test_every_record_is_in_the_outbox_once(client, seed, monkeypatch):
    chance = random.Random(seed)
    example, group = load("kafka_feed"), Group([*map(message, range(1, ORDERS + 1))], chance)
    counts = PumpCounts()
    accept = client.accept_many

    async def accept_slowly(conversions, **options):
        await anyio.sleep(0.002)
        if chance.random() < 0.2:
            raise OutboxError("the disk is full")
        return await accept(conversions, **options)

    monkeypatch.setattr(client, "accept_many", accept_slowly)
    monkeypatch.setattr(example.KafkaBatch, "lease", 0.001)
    for name in ("_FIRST_PAUSE", "_LONGEST_PAUSE"):
        monkeypatch.setattr(pump_module, name, 0.001)

    async def run(*, task_status):
        consumer = Consumer(group)
        with anyio.CancelScope() as scope:
            task_status.started(scope)
            await pump(example.KafkaFeed(consumer, consumer), client, counts=counts)
        consumer.leave()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            scopes = [await tasks.start(run) for _ in range(2)]
            while not group.is_done:
                for _ in range(chance.randrange(300)):
                    await checkpoint()
                if chance.random() < 0.2:
                    scopes.pop(chance.randrange(2)).cancel()
                    scopes.append(await tasks.start(run))
                else:
                    group.rebalance()
            for scope in scopes:
                scope.cancel()

    stored = await client.outbox.recent(limit=2 * ORDERS)
    assert sorted(int(item.conversion.order_id) for item in stored) == [*range(1, ORDERS + 1)]
    assert counts.repeats  # partitions did move in between
