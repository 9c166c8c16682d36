"""Pulls messages of a consumer, through one inbox.

The `fetch` of nats-py starts two tasks for each message, and may wait for ever for a pull that was
left without an answer (https://github.com/nats-io/nats.py/issues/933). Here a message is put into a
list, and every wait ends: messages that arrive later are in the next batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio

from anytrack_async.errors import FeedError
from anytrack_async.feeds.jetstream.connection import as_feed_errors

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

_LINGER = 1.0  # seconds that the server waits for a message
_GRACE = 2.0  # seconds more after which a pull is given up

LONGEST = _LINGER + 2 * _GRACE
"""Seconds that `Pulls.fetch` takes at most."""

_NO_MORE = ("404", "408")
"""Status codes: there are no messages, and none came in time."""


class Pulls:
    """Fetches messages of a durable consumer.

    Args:
        client: an open connection.
        stream: name of the stream.
        consumer: name of its consumer.
    """

    def __init__(self, client: Client, stream: str, consumer: str) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._pull = 0
        self._expected = 0
        self._messages: list[Msg] = []
        self._status: Msg | None = None
        self._changed = anyio.Event()

    async def open(self) -> None:
        """Begin to take messages."""
        self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._take)

    async def fetch(self, limit: int) -> list[Msg]:
        """Return up to *limit* messages: those that are there, or the next one within a second.

        Raises:
            FeedError: the connection is closed, or the server refuses the pull; the message has its
                words.
        """
        if len(self._messages) < limit:
            await self._request(limit, {"batch": limit, "no_wait": True}, _GRACE)
        if not self._messages and self._is_empty():
            linger = {"batch": 1, "expires": int(_LINGER * 1e9)}
            await self._request(1, linger, _LINGER + _GRACE)
        messages, self._messages = self._messages[:limit], self._messages[limit:]
        if not messages and self._status is not None and not self._is_empty():
            raise FeedError(f"NATS refuses to hand out messages: {_words(self._status)}")
        return messages

    async def _request(self, count: int, pull: Mapping[str, object], timeout: float) -> None:
        """Ask for *count* messages, and wait until they are there, or the pull has ended."""
        self._pull += 1
        self._expected, self._status, self._changed = count, None, anyio.Event()
        with as_feed_errors("NATS"):
            await self._client.publish(
                self._subject, json.dumps(pull).encode(), f"{self._inbox}.{self._pull}"
            )
        with anyio.move_on_after(timeout):
            await self._changed.wait()

    def _is_empty(self) -> bool:
        return self._status is not None and _code(self._status) in _NO_MORE

    async def _take(self, message: Msg) -> None:
        if message.reply:
            self._messages.append(message)
        elif message.subject == f"{self._inbox}.{self._pull}" and _code(message) != "100":
            self._status = message
        if self._status is not None or len(self._messages) >= self._expected:
            self._changed.set()

    async def aclose(self) -> list[Msg]:
        """Stop taking messages; return those that were not fetched."""
        if self._subscription is not None and not self._client.is_closed:
            with as_feed_errors("NATS"):
                await self._subscription.unsubscribe()
        messages, self._messages = self._messages, []
        return messages


def _code(status: Msg) -> str:
    return (status.headers or {}).get("Status", "")


def _words(status: Msg) -> str:
    if _code(status) == "503":
        return "the consumer does not exist, or JetStream is not ready"
    return (status.headers or {}).get("Description", f"status {_code(status)}")
