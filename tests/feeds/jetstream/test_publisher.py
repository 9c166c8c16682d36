"""The publisher waits for acknowledgements, and warns of servers that do not sync."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from types import SimpleNamespace

import anyio
import pytest

from anytrack_async import ConfigurationError, Conversion, FeedError, JetStreamPublisher
from anytrack_async.feeds.jetstream import connection as connections
from anytrack_async.feeds.jetstream.publisher import warn_if_not_synced

pytestmark = pytest.mark.asyncio


def sale(order: int) -> Conversion:
    return Conversion.sale(order_id=str(order), revenue=order)


async def count(jetstream, stream) -> int:
    return (await jetstream.stream_info(stream)).state.messages


async def test_a_published_conversion_is_in_the_stream_under_its_event_id(
    connection, jetstream, stream
):
    async with JetStreamPublisher(connection, subject=stream, assume_synced=True) as publisher:
        await publisher.publish(sale(1))
    message = await jetstream.get_msg(stream, 1)
    assert Conversion.from_json(message.data).order_id == "1"
    assert message.headers["Nats-Msg-Id"] == "sale:1"


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_repeat_is_in_the_stream_once(connection, jetstream, stream, atomic):
    config = (await jetstream.stream_info(stream)).config
    await jetstream.update_stream(config.evolve(allow_atomic=atomic))
    async with JetStreamPublisher(connection, subject=stream, assume_synced=True) as publisher:
        await publisher.publish_many(map(sale, range(600)))
        await publisher.publish_many(map(sale, range(590, 610)))
        await publisher.publish_many([])
    assert await count(jetstream, stream) == 610


async def test_a_batch_is_in_the_stream_together_or_not_at_all(connection, jetstream, stream):
    config = (await jetstream.stream_info(stream)).config
    await jetstream.update_stream(config.evolve(max_msgs=5, discard="new"))
    async with JetStreamPublisher(connection, subject=stream, assume_synced=True) as publisher:
        with pytest.raises(FeedError, match=r"not acknowledged: .*maximum messages"):
            await publisher.publish_many(map(sale, range(6)))
    assert await count(jetstream, stream) == 0


async def test_a_publisher_that_is_not_open_says_so(connection):
    with pytest.raises(FeedError, match="is not open: use it with"):
        await JetStreamPublisher(connection, subject="shop").publish(sale(1))


async def test_a_subject_without_a_stream_is_an_error(connection):
    async with JetStreamPublisher(connection, subject="nobody", assume_synced=True) as publisher:
        with pytest.raises(FeedError, match=r"nobody: 2 of 2 .* no stream has this subject"):
            await publisher.publish_many([sale(1), sale(2)])


async def test_no_answer_is_an_error(connection, jetstream, stream, monkeypatch):
    async with JetStreamPublisher(connection, subject=stream, assume_synced=True) as publisher:
        subscription = await connection.subscribe("silent")
        publisher._subject = "silent"
        exchange = publisher._replies.exchange
        monkeypatch.setattr(
            publisher._replies, "exchange", lambda requests: exchange(requests, 0.05)
        )
        with pytest.raises(FeedError, match="no answer in time; publish them again"):
            await publisher.publish(sale(1))
        await subscription.unsubscribe()


@asynccontextmanager
async def monitoring(answer: bytes):
    """A monitoring port that gives one answer."""

    async def serve(stream):
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.0 200 OK\r\n\r\n" + answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tg:
        tg.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tg.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"config": {"sync_always": True}}, None),
        ({"config": {"sync_interval": 120_000_000_000}}, "before they are on its disk"),
        ({}, "before they are on its disk"),
        ("much", "gives no answer"),
    ],
)
async def test_a_server_that_does_not_sync_is_told(caplog, connection, settings, warning):
    async with monitoring(json.dumps(settings).encode()) as url:
        await warn_if_not_synced(connection, url)
    messages = [record.message for record in caplog.records]
    assert not messages if warning is None else warning in messages[0]


async def test_a_server_that_was_not_asked_is_told(caplog, nats_url):
    async with JetStreamPublisher(nats_url):
        pass
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "may acknowledge conversions before" in record.message


async def test_a_server_that_is_too_old_to_sync_is_told(caplog):
    old = SimpleNamespace(connected_server_version=SimpleNamespace(major=2, minor=9))
    await warn_if_not_synced(old, None)
    assert "NATS 2.9 cannot sync" in caplog.text


async def test_a_monitoring_port_that_is_no_url_is_refused(connection):
    with pytest.raises(ConfigurationError, match="monitoring must be a URL"):
        await warn_if_not_synced(connection, "host:8222")


async def test_without_nats_py_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nats", None)
    with pytest.raises(ConfigurationError, match=r"anytrack_async\[nats\]"):
        async with connections.connected("nats://x"):
            pass
