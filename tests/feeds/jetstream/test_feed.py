"""A stream of a real NATS server as a feed."""

from __future__ import annotations

import json

import anyio
import nats
import pytest
import pytest_asyncio
from nats.js.api import AckPolicy

from anytrack_async import (
    ConfigurationError,
    Conversion,
    FeedError,
    JetStreamFeed,
    JetStreamPublisher,
    PumpCounts,
    pump,
)
from anytrack_async.feeds import pump as pumps
from anytrack_async.feeds.jetstream import connection as connections
from anytrack_async.feeds.jetstream import feed as feeds
from anytrack_async.feeds.jetstream import pulls
from anytrack_async.feeds.jetstream.feed import JetStreamBatch

pytestmark = pytest.mark.asyncio


def sale(order: int) -> Conversion:
    return Conversion.sale(order_id=str(order), revenue=order)


async def publish(jetstream, subject, *payloads: bytes | Conversion):
    for payload in payloads:
        data = payload if isinstance(payload, bytes) else payload.to_json().encode()
        await jetstream.publish(subject, data)


async def until(condition):
    """Wait until *condition*, an async function about the server, is true."""
    with anyio.fail_after(20):
        while not await condition():  # noqa: ASYNC110 (the server has no events for it)
            await anyio.sleep(0.02)


async def unconfirmed(jetstream, stream) -> int:
    """How many messages of the stream a pump has not confirmed."""
    info = await jetstream.consumer_info(stream, "anytrack")
    return info.num_pending + info.num_ack_pending


async def first_batch(feed: JetStreamFeed) -> JetStreamBatch:
    with anyio.fail_after(20):
        async for batch in feed:
            return batch
    raise AssertionError


async def pump_all(connection, jetstream, stream, client, **options) -> PumpCounts:
    """Pump until everything in the stream is confirmed."""
    counts = PumpCounts()
    async with JetStreamFeed(connection, stream=stream, **options) as feed:
        async with anyio.create_task_group() as tg:
            tg.start_soon(lambda: pump(feed, client, counts=counts))
            await until(lambda: is_empty(jetstream, stream))
            tg.cancel_scope.cancel()
    return counts


async def is_empty(jetstream, stream) -> bool:
    return not await unconfirmed(jetstream, stream)


@pytest_asyncio.fixture
async def answers(connection, stream):
    """What pumps answer the server about the messages of the stream."""
    subscription = await connection.subscribe(f"$JS.ACK.{stream}.>")
    yield subscription
    await subscription.unsubscribe()


async def test_each_conversion_gets_into_the_outbox_once(connection, jetstream, stream, client):
    await publish(jetstream, stream, *map(sale, [*range(20), *range(20)]))
    counts = await pump_all(connection, jetstream, stream, client, batch=7)
    assert (counts.accepted, counts.repeats) == (20, 20)
    assert (await client.outbox.depths())["anytrack"].waiting == 20


async def test_a_refused_message_is_kept_with_the_reason(connection, jetstream, stream, client):
    await publish(jetstream, stream, sale(1), b"{no", sale(2))
    counts = await pump_all(connection, jetstream, stream, client)
    assert (counts.accepted, counts.refused) == (2, 1)
    kept = await jetstream.get_msg(f"{stream}_refused", 1)
    assert (kept.subject, kept.data) == (f"{stream}.refused", b"{no")
    assert "must be JSON" in kept.headers["Anytrack-Reason"]
    assert kept.headers["Anytrack-Stream"] == f"{stream} 2"


async def test_a_refused_message_of_the_largest_size_is_kept_in_part(
    connection, jetstream, stream, client
):
    await publish(jetstream, stream, b"x" * connection.max_payload)
    await pump_all(connection, jetstream, stream, client, refused=f"{stream}-bad")
    kept = await jetstream.get_msg(f"{stream}_refused", 1)
    assert kept.subject == f"{stream}-bad"
    assert len(kept.data) < connection.max_payload
    assert kept.headers["Anytrack-Cut"].startswith(str(connection.max_payload))


async def test_a_message_that_cannot_be_kept_is_not_ended(connection, jetstream, stream):
    await publish(jetstream, stream, b"{no")
    async with JetStreamFeed(connection, stream=stream) as feed:
        await jetstream.delete_stream(f"{stream}_refused")
        batch = await first_batch(feed)
        with pytest.raises(FeedError, match="cannot keep a refused message"):
            await batch.refused(0, "no JSON")
        await batch.later(0)
        assert (await first_batch(feed)).payloads == [b"{no"]


async def test_a_batch_given_back_comes_again_at_once_or_later(
    connection, jetstream, stream, answers
):
    await publish(jetstream, stream, b"1", b"2")
    async with JetStreamFeed(connection, stream=stream) as feed:
        await (await first_batch(feed)).later(0)
        batches = [await first_batch(feed)]
        while sum(len(batch.payloads) for batch in batches) < 2:  # the first one may come alone
            batches.append(await first_batch(feed))
        assert sorted(text for batch in batches for text in batch.payloads) == [b"1", b"2"]
        for batch in batches:
            await batch.later(0.1)
        payloads = []
        while len(payloads) < 2:  # the first one may come alone
            payloads += (await first_batch(feed)).payloads
        assert sorted(payloads) == [b"1", b"2"]
    delayed = b'-NAK {"delay": 100000000}'
    assert [(await answers.next_msg()).data for _ in range(4)] == [
        *(b"-NAK", b"-NAK"),
        *(delayed, delayed),
    ]


async def test_a_renewed_batch_is_kept_for_another_lease(connection, jetstream, stream, answers):
    await publish(jetstream, stream, b"1", b"{no", b"3")
    async with JetStreamFeed(connection, stream=stream, lease=30) as feed:
        batch = await first_batch(feed)
        assert batch.lease == 30
        await batch.refused(1, "no JSON")
        await batch.renew()
        await batch.accepted()
    assert [(await answers.next_msg()).data for _ in range(5)] == [
        b"+TERM",
        *(b"+WPI", b"+WPI"),
        *(b"+ACK", b"+ACK"),
    ]


async def test_messages_that_come_too_late_are_in_the_next_batch(
    connection, jetstream, stream, monkeypatch
):
    """A pull that is given up may still be answered; a closed feed gives back what nobody has."""
    monkeypatch.setattr(pulls, "_GRACE", 0.0)
    monkeypatch.setattr(pulls, "_LINGER", 0.0)
    await publish(jetstream, stream, b"1", b"2")
    async with JetStreamFeed(connection, stream=stream) as feed:
        assert (await feed._pulls.fetch(2)) == []
        monkeypatch.undo()
        await until(lambda: has_delivered_both(jetstream, stream))
        (message,) = await feed._pulls.fetch(1)
        assert message.data == b"1"
    async with JetStreamFeed(connection, stream=stream) as feed:
        assert (await first_batch(feed)).payloads == [b"2"]


async def has_delivered_both(jetstream, stream) -> bool:
    return (await jetstream.consumer_info(stream, "anytrack")).num_ack_pending == 2


async def test_a_consumer_that_was_deleted_is_told(connection, jetstream, stream):
    async with JetStreamFeed(connection, stream=stream) as feed:
        await jetstream.delete_consumer(stream, "anytrack")
        with pytest.raises(FeedError, match="the consumer does not exist"):
            await feed._pulls.fetch(1)


async def test_a_consumer_and_a_stream_that_were_deleted_are_created_again(
    connection, jetstream, stream, client, monkeypatch
):
    monkeypatch.setattr(feeds, "_AFTER_FAILURE", 0.01)
    monkeypatch.setattr(pumps, "_FIRST_PAUSE", 0.01)
    async with JetStreamFeed(connection, stream=stream) as feed:
        await jetstream.delete_consumer(stream, "anytrack")
        await jetstream.delete_stream(f"{stream}_refused")
        await publish(jetstream, stream, sale(1), b"none", sale(2))
        counts = PumpCounts()
        async with anyio.create_task_group() as tg:
            tg.start_soon(lambda: pump(feed, client, counts=counts))
            with anyio.fail_after(20):
                while counts.refused < 1 or counts.accepted < 2:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            tg.cancel_scope.cancel()

    assert (await jetstream.stream_info(f"{stream}_refused")).state.messages == 1


async def test_a_feed_that_is_not_open_says_so(connection, stream, client):
    with pytest.raises(FeedError, match="is not open: use it with"):
        await pump(JetStreamFeed(connection, stream=stream), client)


async def test_two_pumps_share_a_stream(connection, jetstream, stream):
    await publish(jetstream, stream, *(b"%d" % number for number in range(10)))
    async with (
        JetStreamFeed(connection, stream=stream, batch=5) as first,
        JetStreamFeed(connection, stream=stream, batch=5) as second,
    ):
        batches = [await first_batch(first), await first_batch(second)]
        payloads = [payload for batch in batches for payload in batch.payloads]
        assert sorted(payloads) == [b"%d" % number for number in range(10)]
        for batch in batches:
            await batch.accepted()
    assert await is_empty(jetstream, stream)


async def test_a_consumer_that_gives_up_messages_is_refused(connection, jetstream, stream):
    await jetstream.add_consumer(stream, durable_name="anytrack", max_deliver=3)
    with pytest.raises(ConfigurationError, match="after 3 deliveries"):
        async with JetStreamFeed(connection, stream=stream):
            pass


async def test_a_consumer_that_confirms_in_another_way_is_refused(connection, jetstream, stream):
    await jetstream.add_consumer(stream, durable_name="anytrack", ack_policy=AckPolicy.ALL)
    with pytest.raises(ConfigurationError, match="explicit acknowledgements"):
        async with JetStreamFeed(connection, stream=stream):
            pass


async def test_a_missing_stream_is_named(connection):
    with pytest.raises(ConfigurationError, match="no stream 'NOWHERE'"):
        async with JetStreamFeed(connection, stream="NOWHERE"):
            pass


@pytest.mark.parametrize("subjects", [["all.>"], ["own", "own.refused"]])
async def test_refused_messages_must_not_come_back(connection, subjects):
    jetstream = connection.jetstream()
    await jetstream.add_stream(name="LOOP", subjects=subjects)
    with pytest.raises(ConfigurationError, match="would come back to it"):
        async with JetStreamFeed(connection, stream="LOOP"):
            pass
    await jetstream.delete_stream("LOOP")


@pytest.mark.parametrize(("name", "value"), [("batch", 0), ("lease", 0.5)])
async def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(ConfigurationError, match=name):
        JetStreamFeed("nats://x", stream="S", **{name: value})


async def test_a_password_in_the_address_is_not_shown():
    assert "secret" not in repr(JetStreamFeed("nats://user:secret@host", stream="S"))


async def test_a_server_that_cannot_be_reached_is_an_error_in_time(monkeypatch):
    monkeypatch.setattr(connections, "REPLIES_WITHIN", 0.2)
    with pytest.raises(FeedError, match="cannot connect to NATS: no answer in time"):
        async with JetStreamFeed("nats://127.0.0.1:1", stream="S"):
            pass


async def test_a_full_outbox_leaves_conversions_in_the_stream(
    connection, jetstream, stream, client, monkeypatch
):
    async def pause(_seconds):
        paused.set()
        await anyio.sleep(0.01)

    paused = anyio.Event()
    monkeypatch.setattr("anytrack_async.feeds.pump._sleep", pause)
    async with JetStreamPublisher(connection, subject=stream, assume_synced=True) as publisher:
        await publisher.publish_many(map(sale, range(1_500)))
    async with JetStreamFeed(connection, stream=stream, batch=400) as feed:
        async with anyio.create_task_group() as tg:
            tg.start_soon(pump, feed, client)
            await paused.wait()
            info = await jetstream.consumer_info(stream, "anytrack")
            assert (info.num_pending, info.num_ack_pending) == (300, 400)
            await client.outbox.settle(await client.outbox.claim("anytrack", 1_000, 60))
            await until(lambda: is_empty(jetstream, stream))
            tg.cancel_scope.cancel()
    info = await jetstream.consumer_info(stream, "anytrack")
    assert info.num_redelivered == 0
    assert (await client.outbox.depths())["anytrack"].waiting == 700


async def test_a_server_that_crashes_interrupts_the_pump_only(own_nats, client):
    connection = await nats.connect(own_nats.url, reconnect_time_wait=0.05, error_cb=ignored)
    jetstream = connection.jetstream()
    await jetstream.add_stream(name="CRASH", subjects=["CRASH"])
    counts = PumpCounts()
    async with JetStreamFeed(connection, stream="CRASH", lease=1) as feed:
        async with anyio.create_task_group() as tg:
            tg.start_soon(lambda: pump(feed, client, counts=counts))
            await publish(jetstream, "CRASH", *map(sale, range(5)))
            own_nats.crash()
            own_nats.start()
            await until(lambda: is_back(jetstream))
            await publish(jetstream, "CRASH", *map(sale, range(5, 10)))
            await until(lambda: is_empty(jetstream, "CRASH"))
            tg.cancel_scope.cancel()
    await connection.close()
    assert counts.accepted == 10
    assert (await client.outbox.depths())["anytrack"].waiting == 10


async def ignored(_error):
    pass


async def is_back(jetstream) -> bool:
    try:
        await jetstream.stream_info("CRASH")
    except nats.errors.Error:
        return False
    return True


async def test_a_closed_connection_ends_the_feed(nats_url, jetstream, stream):
    connection = await nats.connect(nats_url)
    async with JetStreamFeed(connection, stream=stream) as feed:
        await connection.close()
        with pytest.raises(FeedError, match="closed"):
            await first_batch(feed)


async def test_the_message_is_json_as_conversions_write_it(connection, jetstream, stream):
    await publish(jetstream, stream, sale(1))
    async with JetStreamFeed(connection, stream=stream) as feed:
        batch = await first_batch(feed)
        assert json.loads(batch.payloads[0])["event_id"] == "sale:1"
        await batch.accepted()
