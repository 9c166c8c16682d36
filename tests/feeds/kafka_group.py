"""A consumer group of Kafka as aiokafka shows it, for tests: partitions move at any moment.

A rebalance takes all partitions from all consumers and deals them out anew. Each then reads from
what is committed, nothing is paused, and calls about a partition that went elsewhere raise
`IllegalStateError`. A commit reaches the broker later than it is checked.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from anyio.lowlevel import checkpoint


class Group:
    """The broker's side: the records, what is committed, and who has which partition."""

    def __init__(self, values: list[bytes], chance: random.Random) -> None:
        self.chance = chance
        self.logs: dict[TopicPartition, list[ConsumerRecord]] = {
            TopicPartition("conversions", number): [] for number in range(3)
        }
        for index, value in enumerate(values):
            partition = TopicPartition("conversions", index % 3)
            log = self.logs[partition]
            log.append(
                ConsumerRecord(*partition, len(log), 0, 0, None, value, None, 0, len(value), ())
            )
        self.committed = dict.fromkeys(self.logs, 0)
        self.members: list[Consumer] = []

    @property
    def is_done(self) -> bool:
        """Whether everything is committed."""
        return all(self.committed[partition] == len(log) for partition, log in self.logs.items())

    def rebalance(self) -> None:
        """Deal the partitions out anew."""
        for member in self.members:
            member.positions, member.paused = {}, set()
            member.generation += 1
        for partition in self.logs if self.members else ():
            member = self.chance.choice(self.members)
            member.positions[partition] = self.committed[partition]


class Consumer:
    """A member of the group."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.generation = 0
        group.members.append(self)
        group.rebalance()

    def leave(self) -> None:
        """End as a killed process does: what is not committed goes to others."""
        self._group.members.remove(self)
        self._group.rebalance()

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self.positions)

    def _check(self, *partitions: TopicPartition) -> None:
        for partition in partitions:
            if partition not in self.positions:
                raise IllegalStateError(f"No current assignment for partition {partition}")

    def pause(self, *partitions: TopicPartition) -> None:
        self._check(*partitions)
        self.paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._check(*partitions)
        self.paused -= set(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._check(partition)
        self.positions[partition] = offset

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int = 5
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        for _ in range(self._group.chance.randrange(1, 4)):
            await checkpoint()
        records = {}
        for partition in (self.assignment() - self.paused) & set(partitions or self.positions):
            place = self.positions[partition]
            part = self._group.logs[partition][place : place + min(max_records, 5)]
            if part:
                records[partition] = part
                self.positions[partition] += len(part)
        return records

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._check(*offsets)
        generation = self.generation
        for _ in range(self._group.chance.randrange(1, 3)):
            await checkpoint()
        if generation != self.generation or self._group.chance.random() < 0.1:
            raise CommitFailedError
        self._group.committed |= offsets

    async def send_and_wait(self, topic: str, value: bytes, headers: object) -> None:
        await checkpoint()
