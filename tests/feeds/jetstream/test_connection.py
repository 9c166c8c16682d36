"""Replies to several requests at once, and late ones."""

from __future__ import annotations

import pytest

from anytrack_async import FeedError
from anytrack_async.feeds.jetstream.connection import Replies, Request

pytestmark = pytest.mark.asyncio


async def test_replies_are_in_the_order_of_the_requests(connection):
    async def echo(message):
        if message.reply:
            waiting.append(message)
        if len(waiting) == 2:
            for each in reversed(waiting):
                await each.respond(each.data)

    waiting = []
    subscription = await connection.subscribe("echo", cb=echo)
    replies = Replies(connection)
    requests = [Request("echo", b"1"), Request("echo", b"2", None, False), Request("echo", b"3")]

    assert await replies.exchange([]) == []
    first, none, third = await replies.exchange(requests)

    assert (first.data, none, third.data) == (b"1", None, b"3")
    await replies.aclose()
    await subscription.unsubscribe()


async def test_a_late_reply_is_no_reply_to_the_next_request(connection):
    async def be_late(message):
        messages.append(message)
        if message.data == b"2":
            for each in messages:
                await each.respond(each.data)

    messages = []
    subscription = await connection.subscribe("late", cb=be_late)
    replies = Replies(connection)

    assert await replies.exchange([Request("late", b"1")], timeout=0) == [None]
    (reply,) = await replies.exchange([Request("late", b"2")])

    assert reply.data == b"2"
    await replies.aclose()
    await subscription.unsubscribe()


async def test_a_closed_connection_is_an_error(nats_url):
    import nats

    connection = await nats.connect(nats_url)
    replies = Replies(connection)
    await connection.close()
    with pytest.raises(FeedError, match="connection closed"):
        await replies.exchange([Request("nobody")])
    with pytest.raises(FeedError, match="connection closed"):
        await replies.send([("nobody", b"")])
    await replies.aclose()
