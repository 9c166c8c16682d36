"""The recipes for Kafka and Redis in `docs/examples`, against stand-ins for both."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import anyio
import fakeredis
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaTimeoutError

from anytrack_async import Conversion, FeedError, PumpCounts, pump

pytestmark = pytest.mark.asyncio

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def message(order: int) -> bytes:
    return Conversion.sale(order_id=str(order), revenue=order).to_json().encode()


async def pump_until(condition, feed, client) -> PumpCounts:
    counts = PumpCounts()
    async with anyio.create_task_group() as tg:
        tg.start_soon(lambda: pump(feed, client, counts=counts))
        with anyio.fail_after(20):
            while not await condition(counts):  # noqa: ASYNC110 (stand-ins have no events)
                await anyio.sleep(0.001)
        tg.cancel_scope.cancel()
    return counts


async def has_accepted(counts: PumpCounts) -> bool:
    return counts.accepted > 0


class Broker:
    """A consumer and a producer of Kafka: one topic with two partitions."""

    def __init__(self, *values: bytes) -> None:
        self.logs = {TopicPartition("conversions", number): [] for number in range(2)}
        for index, value in enumerate(values):
            partition = TopicPartition("conversions", index % 2)
            log = self.logs[partition]
            log.append(
                ConsumerRecord(*partition, len(log), 0, 0, None, value, None, 0, len(value), ())
            )
        self.places = dict.fromkeys(self.logs, 0)
        self.committed: dict[TopicPartition, int] = {}
        self.sent: list[tuple] = []
        self.paused: set[TopicPartition] = set()
        self.failures: list[Exception] = []

    def assignment(self):
        return set(self.logs)

    async def getmany(self, *partitions, timeout_ms, max_records=None):
        await anyio.lowlevel.checkpoint()
        records = {}
        for partition, log in self.logs.items():
            if partition not in self.paused and (rest := log[self.places[partition] :]):
                records[partition], self.places[partition] = rest, len(log)
        return records

    def pause(self, *partitions):
        self.paused |= set(partitions)

    def resume(self, *partitions):
        self.paused -= set(partitions)

    def seek(self, partition, offset):
        self.places[partition] = offset

    async def has_commits(self, _counts):
        return bool(self.committed)

    async def commit(self, offsets):
        self._fail()
        self.committed |= offsets

    async def send_and_wait(self, topic, value, headers):
        self._fail()
        self.sent.append((topic, value, headers))

    def _fail(self):
        if self.failures:
            raise self.failures.pop()


async def test_kafka_commits_what_the_outbox_has(client):
    broker = Broker(*map(message, (1, 2, 3)), b"{no")
    feed = load("kafka_feed").KafkaFeed(broker, broker)
    counts = await pump_until(broker.has_commits, feed, client)
    assert (counts.accepted, counts.refused) == (3, 1)
    assert [*broker.committed.values()] == [2, 2]
    ((topic, value, ((name, reason),)),) = broker.sent
    assert (topic, value, name) == ("conversions.refused", b"{no", "reason")
    assert b"must be JSON" in reason


async def test_kafka_reads_again_what_was_not_accepted(client):
    broker = Broker(message(1), message(2))
    feed = load("kafka_feed").KafkaFeed(broker, broker)
    (batch,) = [batch async for batch in once(feed)]
    await batch.renew()
    assert not broker.paused
    await batch.later(1)
    counts = await pump_until(broker.has_commits, feed, client)
    assert counts.accepted == 2


async def once(feed):
    async for batch in feed:
        yield batch
        return


async def test_kafka_tells_what_it_cannot_keep(client):
    broker = Broker(b"{no")
    (batch,) = [batch async for batch in once(load("kafka_feed").KafkaFeed(broker, broker))]
    broker.failures = [CommitFailedError(), KafkaTimeoutError()]
    with pytest.raises(FeedError, match="KafkaTimeoutError"):
        await batch.refused(0, "no JSON")
    with pytest.raises(FeedError, match="CommitFailedError"):
        await batch.accepted()


async def test_redis_acknowledges_what_the_outbox_has(client):
    example = load("redis_feed")
    redis = fakeredis.FakeAsyncRedis()

    async def is_acknowledged(counts):
        return (
            counts.repeats and not (await redis.xpending(example.STREAM, example.GROUP))["pending"]
        )

    for value in (message(1), b"{no", message(1), message(2)):
        await redis.xadd(example.STREAM, {"conversion": value})
    counts = await pump_until(is_acknowledged, example.RedisFeed(redis), client)
    assert (counts.accepted, counts.repeats, counts.refused) == (2, 1, 1)
    assert (await redis.xpending(example.STREAM, example.GROUP))["pending"] == 0
    ((_, fields),) = await redis.xrange(f"{example.STREAM}.refused")
    assert fields[b"conversion"] == b"{no"
    assert b"must be JSON" in fields[b"reason"]
    await redis.aclose()


async def test_redis_takes_over_what_a_dead_consumer_had(client):
    example = load("redis_feed")
    redis = fakeredis.FakeAsyncRedis()
    await redis.xadd(example.STREAM, {"conversion": message(1)})
    await redis.xgroup_create(example.STREAM, example.GROUP, id="0")
    await redis.xreadgroup(example.GROUP, "dead", {example.STREAM: ">"})
    (batch,) = [batch async for batch in once(example.RedisFeed(redis, lease=0))]
    assert Conversion.from_json(batch.payloads[0]).order_id == "1"
    await batch.renew()
    ((owner),) = await redis.xpending_range(example.STREAM, example.GROUP, "-", "+", 10)
    assert owner["consumer"] == example.CONSUMER.encode()
    await batch.later(1)
    counts = await pump_until(has_accepted, example.RedisFeed(redis, lease=0), client)
    assert counts.accepted == 1
    await redis.aclose()


async def test_redis_tells_what_it_cannot_keep():
    example = load("redis_feed")
    server = fakeredis.FakeServer()
    redis = fakeredis.FakeAsyncRedis(server=server)
    batch = example.RedisBatch(redis, [(b"1-1", {b"conversion": b"{no"})], 60)
    server.connected = False
    for answer in (batch.accepted(), batch.refused(0, "no JSON"), batch.renew()):
        with pytest.raises(FeedError, match="Redis: ConnectionError"):
            await answer
