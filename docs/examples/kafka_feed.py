"""Kafka as a feed: offsets are committed after the conversions are in the outbox.

$ KAFKA=broker:9092 python kafka_feed.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from anytrack_async import AnyTrackClient, FeedError, pump


class KafkaBatch:
    """Records of all partitions that this process reads."""

    lease = 120.0  # less than max_poll_interval_ms, 300 s, after which Kafka moves the partitions

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        producer: AIOKafkaProducer,
        records: dict[TopicPartition, list[ConsumerRecord]],
    ) -> None:
        self.consumer, self.producer, self.partitions = consumer, producer, records
        self.records = [record for each in records.values() for record in each]
        self.payloads = [record.value or b"" for record in self.records]

    async def accepted(self) -> None:
        """Commit what follows the last record of each partition."""
        offsets = {part: records[-1].offset + 1 for part, records in self.partitions.items()}
        try:
            await self.consumer.commit(offsets)
        except KafkaError as exc:  # another process has the partitions by now
            raise FeedError(f"Kafka: {type(exc).__name__}") from None

    async def later(self, seconds: float) -> None:
        """Go back to the first record of each partition; `pump` waits for the seconds."""
        for partition, records in self.partitions.items():
            if partition in self.consumer.assignment():
                self.consumer.seek(partition, records[0].offset)

    async def refused(self, index: int, reason: str) -> None:
        """Copy the record to a topic for refused ones."""
        topic, headers = f"{self.records[index].topic}.refused", [("reason", reason.encode())]
        try:
            await self.producer.send_and_wait(topic, self.payloads[index], headers=headers)
        except KafkaError as exc:
            raise FeedError(f"Kafka: {type(exc).__name__}") from None

    async def renew(self) -> None:
        """Poll nothing: Kafka takes the partitions from a process that does not poll."""
        if not (partitions := self.consumer.assignment()):
            return
        try:
            self.consumer.pause(*partitions)
            # Of these only: records of a partition that comes meanwhile would be passed over.
            await self.consumer.getmany(*partitions, timeout_ms=0)
            self.consumer.resume(*(partitions & self.consumer.assignment()))
        except KafkaError as exc:
            raise FeedError(f"Kafka: {type(exc).__name__}") from None


class KafkaFeed:
    """Batches of a consumer with ``enable_auto_commit=False``."""

    def __init__(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        self.consumer, self.producer = consumer, producer

    async def __aiter__(self) -> AsyncIterator[KafkaBatch]:
        """Yield batches of 500 records at most."""
        while True:
            records = await self.consumer.getmany(timeout_ms=1_000, max_records=500)
            if records:
                yield KafkaBatch(self.consumer, self.producer, records)


async def main() -> None:
    """Pump the topic ``conversions`` into the outbox that ANYTRACK_OUTBOX names."""
    broker = os.environ["KAFKA"]
    consumer = AIOKafkaConsumer(
        "conversions",
        bootstrap_servers=broker,
        group_id="anytrack",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all")
    async with consumer, producer, AnyTrackClient.from_env() as client:
        await pump(KafkaFeed(consumer, producer), client)


if __name__ == "__main__":
    asyncio.run(main())
