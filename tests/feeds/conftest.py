"""A client whose outbox is on disk, and a stream for each test."""

from __future__ import annotations

import itertools

import nats
import pytest
import pytest_asyncio

from anytrack_async import AnyTrackClient, Conversion, DeliverySettings, SQLiteOutbox

_streams = itertools.count()


def sale(order: int, **fields: object) -> Conversion:
    return Conversion.sale(order_id=str(order), revenue=order, **fields)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


@pytest_asyncio.fixture
async def client(path):
    """A client that only accepts; there is room for 1,000 conversions."""
    outbox = SQLiteOutbox(path, capacity=1_000)
    delivery = DeliverySettings(deliver=False, on_full="raise")
    async with AnyTrackClient("key", "account", outbox=outbox, delivery=delivery) as client:
        yield client


@pytest_asyncio.fixture
async def connection(nats_url):
    connection = await nats.connect(nats_url, reconnect_time_wait=0.05)
    yield connection
    await connection.close()


@pytest.fixture
def stream():
    """The name of a stream that no other test uses; it has the same subject."""
    return f"S{next(_streams)}"


@pytest_asyncio.fixture
async def jetstream(connection, stream):
    """JetStream, with the stream of the test."""
    jetstream = connection.jetstream()
    await jetstream.add_stream(name=stream, subjects=[stream], allow_atomic=True)
    yield jetstream
    await jetstream.delete_stream(stream)
