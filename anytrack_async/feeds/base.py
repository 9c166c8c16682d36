"""The protocol of a feed: conversions that a stream keeps until an outbox has them.

A stream such as JetStream, Kafka or Redis Streams is no outbox. It has no leases that a late worker
cannot break, no reports, and no dead letters that can be replayed; it forgets event ids after
minutes. Its use is to take conversions where there is no database, and to keep them for a while. So
a feed has three answers to a message, and `pump` gives them: the message is in the outbox, is to be
delivered again later, or is refused for good.

Every message arrives at least once. The outbox knows the event ids, so it accepts each conversion
exactly once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol


class FeedBatch(Protocol):
    """Some messages of a feed, which this process has for a while.

    Attributes:
        payloads: the messages' contents: JSON, as `Conversion.to_json` writes it, in UTF-8.
        lease: seconds after which the stream gives the messages to another process, unless `renew`
            is called. Infinity where it never does.
    """

    @property
    def payloads(self) -> Sequence[bytes]:
        """The messages' contents."""
        ...

    @property
    def lease(self) -> float:
        """Seconds until the messages are given to another process."""
        ...

    async def accepted(self) -> None:
        """Tell the stream that the outbox has every message that was not refused.

        Messages for which that cannot be told come again, and are repeats then.

        Raises:
            FeedError: the stream cannot be reached.
        """
        ...

    async def later(self, seconds: float) -> None:
        """Give back the messages that were neither accepted nor refused; they come again.

        Args:
            seconds: how long the stream should keep them back, at least, where it can.

        Raises:
            FeedError: the stream cannot be reached; they come again when `lease` has passed.
        """
        ...

    async def refused(self, index: int, reason: str) -> None:
        """Put the message at *index* aside for good, with the *reason*, where people find it.

        Raises:
            FeedError: it could not be put aside, and is still part of the batch.
        """
        ...

    async def renew(self) -> None:
        """Keep the messages for another `lease` seconds.

        Raises:
            FeedError: the stream cannot be reached.
        """
        ...


class Feed(Protocol):
    """An endless series of batches, each with at least one message.

    The next batch is asked for when the one before was accepted or given back.
    """

    def __aiter__(self) -> AsyncIterator[FeedBatch]:
        """Return the batches.

        Iterating raises `FeedError` when there will be no more, because the stream or this
        process's right to read it is gone.
        """
        ...
