"""Row 33: conversions a second through a pump, against fetching and confirming alone."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy

from anytrack_async import DeliverySettings, JetStreamFeed, JetStreamPublisher, pump
from benchmarks.measure import Row, interleaved, rates
from benchmarks.shop import client, conversions
from tests.servers.nats import NatsServer

NUMBER = 33
NEEDS = ("nats",)
TARGET = 0.8

_OURS, _FLOOR = "pump into a SQLite outbox", "fetch and ack_sync"
_STREAM = "BENCHMARK"
_BATCH = 500
_ROUNDS = 5


def run(quick: bool) -> Row:
    """Compare both on one server, whose stream has the same messages for each."""
    count = 1_000 if quick else 10_000
    with suppress(OSError):  # the server shares the cores with its clients
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    server = NatsServer(sync_always=False)
    try:
        asyncio.run(_fill(server.url, count))
        with tempfile.TemporaryDirectory() as folder:
            contenders = _Contenders(server.url, Path(folder), count)
            runs = {_FLOOR: contenders.fetch_and_confirm, _OURS: contenders.pump}
            costs = interleaved(runs, 1 if quick else _ROUNDS)
    finally:
        server.close()
    share = costs[_FLOOR].wall / costs[_OURS].wall
    return Row(
        number=NUMBER,
        measure="conversions/s from JetStream into a SQLite outbox, with a pump",
        against=f"nats-py alone: `fetch({_BATCH})`, and `ack_sync` of all of them at once",
        target=f"≥ {TARGET} ×",
        result=f"{share:.2f} ×",
        reached=share >= TARGET,
        details=rates(costs, "conversions"),
    )


async def _fill(url: str, count: int) -> None:
    connection = await nats.connect(url)
    await connection.jetstream().add_stream(name=_STREAM, subjects=[_STREAM])
    async with JetStreamPublisher(connection, subject=_STREAM, assume_synced=True) as publisher:
        await publisher.publish_many(conversions(count))
    await connection.close()


class _Contenders:
    """Both ways through the stream, each time with a consumer of its own."""

    def __init__(self, url: str, folder: Path, count: int) -> None:
        self._url = url
        self._folder = folder
        self._count = count
        self._runs = 0

    def fetch_and_confirm(self) -> Awaitable[int]:
        return self._with_consumer(self._fetch_and_confirm)

    def pump(self) -> Awaitable[int]:
        return self._with_consumer(self._pump)

    async def _with_consumer(self, work: Callable[[Client, str], Awaitable[None]]) -> int:
        self._runs += 1
        name = f"run-{self._runs}"
        connection = await nats.connect(self._url)
        await connection.jetstream().add_consumer(
            _STREAM, durable_name=name, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000
        )
        await work(connection, name)
        await connection.close()
        return self._count

    async def _fetch_and_confirm(self, connection: Client, name: str) -> None:
        jetstream = connection.jetstream()
        subscription = await jetstream.pull_subscribe_bind(consumer=name, stream=_STREAM)
        confirmed = 0
        while confirmed < self._count:
            messages = await subscription.fetch(_BATCH)
            await asyncio.gather(*(message.ack_sync(timeout=10) for message in messages))
            confirmed += len(messages)

    async def _pump(self, connection: Client, name: str) -> None:
        path = self._folder / f"{name}.db"
        settings = DeliverySettings(deliver=False)
        async with (
            client("http://127.0.0.1:9", outbox=path, delivery=settings) as tracker,
            JetStreamFeed(connection, stream=_STREAM, consumer=name, batch=_BATCH) as feed,
        ):
            counts = await pump(_Ending(feed, self._count), tracker)
        if counts.accepted != self._count:
            raise RuntimeError(f"{counts} of {self._count} conversions")


class _Ending:
    """A feed that ends after so many messages, so that no time is spent waiting for more."""

    def __init__(self, feed: JetStreamFeed, count: int) -> None:
        self._feed = feed
        self._count = count

    async def __aiter__(self):
        async for batch in self._feed:
            yield batch
            self._count -= len(batch.payloads)
            if self._count <= 0:
                return
