"""Redis Streams as a feed: entries are acknowledged after the conversions are in the outbox.

$ REDIS_URL=redis://host python redis_feed.py
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from anytrack_async import AnyTrackClient, FeedError, pump

STREAM, GROUP = "conversions", "anytrack"
CONSUMER = f"{socket.gethostname()}-{os.getpid()}"

Entry = tuple[bytes, dict[bytes, bytes]]


class RedisBatch:
    """Entries that this consumer has, each with a field ``conversion``."""

    def __init__(self, redis: Redis, entries: Sequence[Entry], lease: float) -> None:
        self.redis, self.lease = redis, lease
        self.ids = [entry_id for entry_id, _ in entries]
        self.payloads = [fields.get(b"conversion", b"") for _, fields in entries]

    async def accepted(self) -> None:
        """Acknowledge the entries; those that were refused are so already."""
        try:
            await self.redis.xack(STREAM, GROUP, *self.ids)
        except RedisError as exc:
            raise FeedError(f"Redis: {type(exc).__name__}") from None

    async def later(self, seconds: float) -> None:
        """Leave the entries pending: a consumer takes them over when the lease has ended."""

    async def refused(self, index: int, reason: str) -> None:
        """Move the entry to a stream of refused ones, in one step."""
        fields = {"conversion": self.payloads[index], "reason": reason}
        try:
            async with self.redis.pipeline(transaction=True) as pipeline:
                pipeline.xadd(f"{STREAM}.refused", fields)
                pipeline.xack(STREAM, GROUP, self.ids[index])
                await pipeline.execute()
        except RedisError as exc:
            raise FeedError(f"Redis: {type(exc).__name__}") from None

    async def renew(self) -> None:
        """Claim the entries anew, so that their idle time begins again."""
        try:
            await self.redis.xclaim(STREAM, GROUP, CONSUMER, 0, self.ids, justid=True)
        except RedisError as exc:
            raise FeedError(f"Redis: {type(exc).__name__}") from None


class RedisFeed:
    """Batches of a consumer group, which is created for all entries of the stream."""

    def __init__(self, redis: Redis, lease: float = 60.0) -> None:
        self.redis, self.lease = redis, lease

    async def __aiter__(self) -> AsyncIterator[RedisBatch]:
        """Yield new entries, and those that another consumer had for longer than its lease."""
        with suppress(ResponseError):  # it exists
            await self.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        while True:
            idle = int(self.lease * 1000)
            taken = await self.redis.xautoclaim(STREAM, GROUP, CONSUMER, idle, count=500)
            entries = [entry for entry in taken[1] if entry[1]]
            if not entries:
                read = await self.redis.xreadgroup(
                    GROUP, CONSUMER, {STREAM: ">"}, count=500, block=1_000
                )
                entries = read[0][1] if read else []
            if entries:
                yield RedisBatch(self.redis, entries, self.lease)


async def main() -> None:
    """Pump the stream ``conversions`` into the outbox that ANYTRACK_OUTBOX names."""
    redis = Redis.from_url(os.environ["REDIS_URL"])
    async with redis, AnyTrackClient.from_env() as client:
        await pump(RedisFeed(redis), client)


if __name__ == "__main__":
    asyncio.run(main())
