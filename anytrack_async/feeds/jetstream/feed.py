"""`JetStreamFeed`: a stream of NATS JetStream as a feed.

Each pump fetches from one durable consumer, and confirms each message explicitly: with a policy of
"all before this one", a pump would confirm what another one still has. The server takes the
confirmations of a consumer in order, so that its reply to the last one of a batch is enough.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.lowlevel import checkpoint

from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError, FeedError
from anytrack_async.events import logger
from anytrack_async.feeds.jetstream.connection import Replies, Request, as_feed_errors, connected
from anytrack_async.feeds.jetstream.pulls import LONGEST, Pulls
from anytrack_async.feeds.jetstream.refused import RefusedMessages

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.api import ConsumerConfig

_AT_THE_END = 5.0  # seconds in which messages are given back when the feed is closed
_AFTER_FAILURE = 1.0  # seconds until the next fetch
_MAX_BATCH = 1_000_000
_MAX_LEASE = 86_400 * 365  # JetStream counts nanoseconds in 64 bits
_ACK, _NAK, _IN_PROGRESS = b"+ACK", b"-NAK", b"+WPI"


class JetStreamFeed:
    """Conversions in a stream of NATS JetStream, for `pump`.

        async with JetStreamFeed("nats://…", stream="CONVERSIONS") as feed:
            await pump(feed, client)

    A message is a conversion in JSON, as `JetStreamPublisher` or `Conversion.to_json` writes it.
    One that is not is published to ``<its subject>.refused``, with the reason in the header
    ``Anytrack-Reason``, and ended. If no stream has these subjects, the feed creates the stream
    ``<stream>_refused``.

    A restart of the server interrupts it until the connection is back. A consumer, or a stream of
    refused messages, that was deleted meanwhile is created again. JetStream gives a message to
    several pumps if one of them is late, which the outbox recognises.

    Args:
        server: ``nats://host:port``, several of them, or a connection of nats-py, which is left
            open.
        stream: name of the stream; it has to exist.
        consumer: name of the durable consumer that all pumps of the stream share; created if it
            does not exist, for all messages in the stream.
        batch: how many messages a batch has at most.
        lease: seconds that a batch may take before JetStream gives it to another pump, unless it is
            renewed (the consumer's ``ack_wait``). Counts when the consumer is created.
        refused: subject of all refused messages, instead of ``<subject>.refused``.
        options: arguments for ``nats.connect``, such as ``user_credentials`` or ``tls``.

    Raises:
        ConfigurationError: an argument is wrong; on opening: nats-py is not installed, the stream
            does not exist, the consumer confirms otherwise, or refused messages would come back.
        FeedError: on opening, the server cannot be reached.
    """

    def __init__(
        self,
        server: str | Sequence[str] | Client,
        *,
        stream: str,
        consumer: str = "anytrack",
        batch: int = 500,
        lease: float = 60.0,
        refused: str | None = None,
        **options: Any,
    ) -> None:
        if not _is_number(batch, int, 1, _MAX_BATCH):
            raise ConfigurationError(
                f"batch must be a whole number from 1 to {_MAX_BATCH:,}, got {shown(batch)}"
            )
        if not _is_number(lease, int | float, 1, _MAX_LEASE):
            raise ConfigurationError(
                f"lease must be a number of seconds from 1 to {_MAX_LEASE:,}, got {shown(lease)}"
            )
        self._server = server
        self._stream = stream
        self._consumer = consumer
        self._batch = batch
        self._lease = lease
        self._refused_subject = refused
        self._options = options
        self._resources = AsyncExitStack()
        self._client: Client | None = None

    def __repr__(self) -> str:
        # Without the server's URL, which may have a password.
        return f"JetStreamFeed(stream={self._stream!r}, consumer={self._consumer!r})"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connected(self._server, **self._options))
            self._jetstream = client.jetstream(timeout=5)
            self._replies = Replies(client)
            stack.push_async_callback(self._replies.aclose)
            self._refused = RefusedMessages(client, self._stream, self._refused_subject)
            with as_feed_errors(f"stream {self._stream!r}"):
                await self._refused.open()
                await self._open_consumer()
                self._pulls = Pulls(client, self._stream, self._consumer)
                await self._pulls.open()
            self._client = client
            stack.push_async_callback(self._stop)
            self._resources = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._resources.aclose()

    async def _open_consumer(self) -> None:
        """Create the consumer, or check the one that exists."""
        from nats.js.api import AckPolicy, ConsumerConfig
        from nats.js.errors import NotFoundError

        config = ConsumerConfig(
            durable_name=self._consumer,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._lease,
            max_deliver=-1,
            max_ack_pending=max(10_000, 4 * self._batch),
        )
        try:
            info = await self._jetstream.consumer_info(self._stream, self._consumer)
        except NotFoundError:
            info = await self._jetstream.add_consumer(self._stream, config)
        self._check(info.config)

    def _check(self, config: ConsumerConfig | None) -> None:
        """Check that the consumer loses nothing, and take its lease."""
        from nats.js.api import AckPolicy

        if config is None or config.ack_policy != AckPolicy.EXPLICIT or config.deliver_subject:
            raise ConfigurationError(
                f"consumer {self._consumer!r} of stream {self._stream!r} must be a pull consumer "
                "with explicit acknowledgements; give another name, and it is created so"
            )
        if config.max_deliver is not None and config.max_deliver > 0:
            raise ConfigurationError(
                f"consumer {self._consumer!r} of stream {self._stream!r} gives up a message after "
                f"{config.max_deliver} deliveries, and the conversion is lost: set its max_deliver "
                "to -1"
            )
        self._lease = config.ack_wait or self._lease

    async def __aiter__(self) -> AsyncIterator[JetStreamBatch]:
        if self._client is None:
            raise FeedError(f"{self!r} is not open: use it with `async with … as feed:`")
        while True:
            messages: list[Msg] = []
            # Stopped in here, a pull would leave its messages to the end of their lease.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LONGEST):
                messages = await self._fetch()
            if messages:
                yield JetStreamBatch(messages, self._lease, self._replies, self._refused)
            else:
                await checkpoint()

    async def _fetch(self) -> list[Msg]:
        """Return some messages; none if there are none, or no connection."""
        try:
            return await self._pulls.fetch(self._batch)
        except FeedError as exc:
            if self._client is None or self._client.is_closed:
                raise
            logger.warning("stream %s: cannot fetch, will retry: %s", self._stream, exc)
        await anyio.sleep(_AFTER_FAILURE)
        await self._restore()
        return []

    async def _restore(self) -> None:
        """Create what was deleted meanwhile: the consumer, or the stream of refused messages.

        A new consumer begins with the first message that the stream has; what the outbox has
        already are repeats.

        Raises:
            ConfigurationError: another consumer of that name was created, which loses messages.
        """
        try:
            with as_feed_errors(f"stream {self._stream!r}"):
                await self._refused.open()
        except (ConfigurationError, FeedError) as exc:  # perhaps the stream is created anew, too
            logger.warning("stream %s: will retry: %s", self._stream, exc)
            return
        with suppress(FeedError), as_feed_errors(f"stream {self._stream!r}"):
            await self._open_consumer()

    async def _stop(self) -> None:
        """Give back the messages that are in no batch."""
        with anyio.move_on_after(_AT_THE_END, shield=True), suppress(FeedError):
            messages = await self._pulls.aclose()
            if messages:
                batch = JetStreamBatch(messages, self._lease, self._replies, self._refused)
                await batch.later(0)


class JetStreamBatch:
    """Messages of a stream, see `FeedBatch`."""

    def __init__(
        self, messages: Sequence[Msg], lease: float, replies: Replies, refused: RefusedMessages
    ) -> None:
        self.payloads = [message.data for message in messages]
        self.lease = lease
        self._messages: list[Msg | None] = [*messages]
        self._replies = replies
        self._refused = refused

    async def accepted(self) -> None:
        """Confirm the messages, and wait until the server has that on record."""
        messages = self._take()
        last = len(messages) - 1
        replies = await self._replies.exchange(
            [Request(message.reply, _ACK, None, n == last) for n, message in enumerate(messages)]
        )
        if replies and replies[-1] is None:
            raise FeedError("NATS has not recorded the confirmations in time")

    async def later(self, seconds: float) -> None:
        """Give the messages back for *seconds*."""
        delay = b' {"delay": %d}' % int(seconds * 1e9) if seconds else b""
        await self._replies.send([(message.reply, _NAK + delay) for message in self._take()])

    async def refused(self, index: int, reason: str) -> None:
        """Publish the message to the subject of refused ones, and end it."""
        message = self._messages[index]
        if message is not None:
            await self._refused.put(message, reason)
            self._messages[index] = None

    async def renew(self) -> None:
        """Keep the messages for another lease."""
        messages = filter(None, self._messages)
        await self._replies.send([(message.reply, _IN_PROGRESS) for message in messages])

    def _take(self) -> list[Msg]:
        """Return the messages without an answer so far, which get one now."""
        messages = [message for message in self._messages if message is not None]
        self._messages = [None] * len(self._messages)
        return messages


def _is_number(value: object, kind: Any, lowest: int, highest: int) -> bool:
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return bool(lowest <= value <= highest)
