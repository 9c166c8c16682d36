"""Messages that are no conversions: kept in a stream, with the reason, and ended in their own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from anytrack_async.errors import ConfigurationError, FeedError
from anytrack_async.feeds.jetstream.connection import as_feed_errors

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

SUFFIX = ".refused"

_HEADER_BYTES = 2_048
"""Bytes of a message that its headers may take; the reason is cut to half of them."""


class RefusedMessages:
    """Where a feed puts the messages that it refuses.

    Args:
        client: an open connection.
        stream: the stream that the messages come from.
        subject: the subject to publish all of them to; None for ``<subject of each>.refused``.
    """

    def __init__(self, client: Client, stream: str, subject: str | None) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=5)
        self._stream = stream
        self._subject = subject

    async def open(self) -> None:
        """Check that some stream keeps refused messages; create one if none does.

        Raises:
            ConfigurationError: the feed's stream does not exist, or would get them back.
        """
        from nats.js.errors import NotFoundError

        try:
            info = await self._jetstream.stream_info(self._stream)
        except NotFoundError:
            raise ConfigurationError(
                f"there is no stream {self._stream!r}; create it, e.g. with `nats stream add`"
            ) from None
        own = info.config.subjects or []
        subjects = [self._subject] if self._subject else [f"{name}{SUFFIX}" for name in own]
        # A stream of the subject shop.> also takes shop.orders.refused: a loop without end.
        if any(name.endswith(f">{SUFFIX}") for name in subjects):
            raise self._would_return(", ".join(own))
        missing = [name for name in subjects if not await self._has_stream(name)]
        if missing:
            await self._jetstream.add_stream(name=f"{self._stream}_refused", subjects=missing)

    async def _has_stream(self, subject: str) -> bool:
        """Return whether a stream keeps the messages of *subject*.

        Raises:
            ConfigurationError: it is the stream that the refused messages come from.
        """
        from nats.js.errors import NotFoundError

        try:
            keeper = await self._jetstream.find_stream_name_by_subject(subject)
        except NotFoundError:
            return False
        if keeper == self._stream:
            raise self._would_return(f"the subject {subject}")
        return True

    def _would_return(self, subjects: str) -> ConfigurationError:
        return ConfigurationError(
            f"stream {self._stream!r} has {subjects}, so that its refused messages would come back "
            "to it: give JetStreamFeed(refused=…) a subject that it does not have"
        )

    async def put(self, message: Msg, reason: str) -> None:
        """Keep *message* with the *reason*, then end it in its own stream.

        The id of the copy is the message's place, so that it is kept once if ending it fails.

        Raises:
            FeedError: it could not be kept; it is not ended.
        """
        sequence = message.metadata.sequence.stream
        headers = {
            **(message.headers or {}),
            "Anytrack-Reason": " ".join(reason.split())[: _HEADER_BYTES // 2],
            "Anytrack-Stream": f"{self._stream} {sequence}",
            "Nats-Msg-Id": f"{self._stream} {sequence}",
        }
        # With its headers, a copy of the largest message would be larger than the server allows.
        room = self._client.max_payload - _HEADER_BYTES
        if len(message.data) > room:
            headers["Anytrack-Cut"] = f"{len(message.data)} bytes, see Anytrack-Stream"
        subject = self._subject or message.subject + SUFFIX
        try:
            with as_feed_errors(f"cannot keep a refused message in {subject}"):
                await self._jetstream.publish(subject, message.data[:room], headers=headers)
                await message.term()
        except FeedError:
            # For the next time, if the stream of refused messages was deleted.
            with suppress(ConfigurationError, FeedError), as_feed_errors(""):
                await self.open()
            raise
