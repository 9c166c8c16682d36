"""`pump`: moves conversions from a feed into the outbox of a client.

Batch by batch: decode, append to the outbox in one step, and only then tell the stream. Wherever
the process dies, the stream has the messages or the outbox has the conversions, or both; then the
messages come again and are repeats.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.sink import checked_names
from anytrack_async.errors import (
    ConfigurationError,
    FeedError,
    InvalidConversionError,
    OutboxError,
    QueueFullError,
    UnsendableError,
)
from anytrack_async.events import logger
from anytrack_async.feeds.base import Feed, FeedBatch
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.identifiers import to_event_id
from anytrack_async.models.missing import is_missing
from anytrack_async.models.plain import parse_json
from anytrack_async.outbox.base import Appended, AppendResult

_sleep = anyio.sleep  # replaced by tests

_DECODED_AT_ONCE = 32
"""Messages decoded before other tasks get a turn: about a millisecond."""

_RENEWALS_PER_LEASE = 3

_WHILE_FULL = 1.0
"""Seconds between two tries to append while a destination is full and ``on_full="raise"``."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds for which a batch is given back when the outbox fails, doubled each time in a row."""

_FAREWELL = 5.0
"""Seconds that giving back or confirming a batch may take when the pump is stopped."""


@attrs.define(kw_only=True)
class PumpCounts:
    """The messages that a pump has handled so far.

    Attributes:
        accepted: conversions that are new in the outbox.
        repeats: messages with a conversion that the outbox had already.
        refused: messages that are no valid conversion, put aside.
        postponed: messages given back to the stream, because the outbox failed.
    """

    accepted: int = 0
    repeats: int = 0
    refused: int = 0
    postponed: int = 0


async def pump(
    feed: Feed,
    client: AnyTrackClient,
    *,
    to: Sequence[str] | None = None,
    counts: PumpCounts | None = None,
) -> PumpCounts:
    """Move every conversion of *feed* into the outbox of *client*, until it is cancelled.

    Several pumps may read one stream, on any machines. While the outbox is full, the messages
    stay in the stream, and this process keeps those of one batch. When the outbox fails, the batch
    is given back for a while, from one second up to a minute. A message that is no valid conversion
    is refused: it is put aside with the reason, and stops nothing. A message without event id and
    order id gets an event id made from its content, and needs a timestamp.

    Cancelling ends the pump at once: messages not appended yet go back to the stream.

    Args:
        feed: the stream, open.
        client: an open client with a durable outbox.
        to: names of the destinations; default: all.
        counts: adds to these counts instead of new ones, so that another task can show them.

    Returns:
        The counts, if the feed ends.

    Raises:
        ConfigurationError: the client's outbox is in memory, so that a confirmed conversion could
            be lost; or it has no such destination.
        FeedError: the feed cannot be read any more.
        ClosedError: the client is not open any more.
    """
    if not client.outbox.durable:
        raise ConfigurationError(
            "pump needs a durable outbox: what it has confirmed to the stream would be lost with "
            f"a {type(client.outbox).__name__}; set ANYTRACK_OUTBOX or outbox=…"
        )
    names = None if to is None else checked_names("to", to, tuple(client.limits))
    worker = _Pump(client, names, PumpCounts() if counts is None else counts)
    async for batch in feed:
        try:
            await worker.take(batch)
        except BaseException:
            await _give_back(batch)
            raise
    return worker.counts


async def _give_back(batch: FeedBatch) -> None:
    """Return *batch* to the stream now, instead of when its lease ends."""
    with anyio.move_on_after(_FAREWELL, shield=True):
        try:
            await batch.later(0)
        except Exception as exc:
            logger.warning("pump: messages come again later: %s", safe_description(exc))


class _Pump:
    """Takes batches, one after the other."""

    def __init__(
        self, client: AnyTrackClient, to: Sequence[str] | None, counts: PumpCounts
    ) -> None:
        self.counts = counts
        self._client = client
        self._to = to
        self._pause = 0.0  # after failures of the outbox

    async def take(self, batch: FeedBatch) -> None:
        """Append the conversions of *batch*, and confirm it or give it back."""
        failure: Exception | None = None
        async with _renewed(batch):
            try:
                await self._append(batch, *await self._decode(batch))
            except Exception as exc:
                failure = exc  # handled below, where no group wraps it
        if isinstance(failure, FeedError | OutboxError):
            await self._postpone(batch, failure)
            return
        if failure is not None:
            raise failure
        self._pause = 0.0
        # Half a batch of confirmations would make the other half come again.
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _FAREWELL):
            try:
                await batch.accepted()
            except FeedError as exc:
                logger.warning("pump: %d messages come again: %s", len(batch.payloads), exc)
        await checkpoint()

    async def _decode(self, batch: FeedBatch) -> tuple[list[int], list[Conversion]]:
        """Return the indexes of the messages that are conversions, and these; refuse the others."""
        indexes, conversions = [], []
        for index, payload in enumerate(batch.payloads):
            try:
                conversions.append(_conversion_in(payload))
                indexes.append(index)
            except InvalidConversionError as exc:
                await self._refuse(batch, index, str(exc))
            if index % _DECODED_AT_ONCE == _DECODED_AT_ONCE - 1:
                await checkpoint()
        return indexes, conversions

    async def _append(
        self, batch: FeedBatch, indexes: Sequence[int], conversions: Sequence[Conversion]
    ) -> None:
        """Append *conversions*, in halves if they are too many or one of them is too large."""
        if not conversions:
            return
        try:
            self._count(await self._accept(conversions))
        except (QueueFullError, UnsendableError) as exc:
            if len(conversions) == 1:
                await self._refuse(batch, indexes[0], str(exc))
                return
            half = len(conversions) // 2
            await self._append(batch, indexes[:half], conversions[:half])
            await self._append(batch, indexes[half:], conversions[half:])

    async def _accept(self, conversions: Sequence[Conversion]) -> Sequence[AppendResult]:
        """Append *conversions* in one step, and wait for as long as a destination is full."""
        while True:
            try:
                return await self._client.accept_many(conversions, to=self._to)
            except QueueFullError as exc:
                if exc.too_large or len(conversions) > self._client.outbox.capacity:
                    raise
            await _sleep(_WHILE_FULL)

    def _count(self, results: Sequence[AppendResult]) -> None:
        new = sum(result is Appended.NEW for result in results)
        self.counts.accepted += new
        self.counts.repeats += len(results) - new

    async def _refuse(self, batch: FeedBatch, index: int, reason: str) -> None:
        await batch.refused(index, reason)
        self.counts.refused += 1
        logger.error("pump: a message was refused and put aside: %s", reason)

    async def _postpone(self, batch: FeedBatch, failure: Exception) -> None:
        """Give *batch* back for a while, and wait for as long."""
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        template = "pump: %d messages come again in %.0f s: %s"
        logger.warning(template, len(batch.payloads), self._pause, safe_description(failure))
        try:
            await batch.later(self._pause)
        except FeedError:  # they come again when the lease has ended
            pass
        else:
            self.counts.postponed += len(batch.payloads)
        await _sleep(self._pause)


def _conversion_in(payload: Any) -> Conversion:
    """Return the conversion in a message, with the same event id each time the message arrives.

    Raises:
        InvalidConversionError: it is no conversion, or nothing tells it from others like it.
    """
    if not isinstance(payload, bytes):
        payload = _as_bytes(payload)
    record = parse_json(payload)
    conversion = Conversion.from_dict(record)
    if conversion.order_id is not None or to_event_id(record.get("event_id")) is not None:
        return conversion
    if is_missing(record.get("timestamp")):
        raise InvalidConversionError(
            "event_id",
            "is missing, and so are order_id and timestamp: a stream delivers some messages twice, "
            "and each would count; write messages with Conversion.to_json()",
        )
    digest = blake2b(payload, digest_size=16).hexdigest()
    return Conversion.from_dict({**record, "event_id": f"feed:{digest}"})


def _as_bytes(payload: object) -> bytes:
    """Return a message that a feed of somebody else has as text or another kind of bytes."""
    if isinstance(payload, str):
        return payload.encode(errors="replace")
    if isinstance(payload, bytearray | memoryview):
        return bytes(payload)
    # Kafka's messages may have no value at all.
    problem = f"must be JSON as bytes, got {type(payload).__name__}"
    raise InvalidConversionError("conversion", problem)


@asynccontextmanager
async def _renewed(batch: FeedBatch) -> AsyncIterator[None]:
    """Renew *batch* three times a lease, as long as the block runs; the block must not raise."""
    async with anyio.create_task_group() as tg:
        if math.isfinite(batch.lease):
            tg.start_soon(_renew, batch)
        yield
        tg.cancel_scope.cancel()


async def _renew(batch: FeedBatch) -> None:
    while True:
        await anyio.sleep(batch.lease / _RENEWALS_PER_LEASE)
        try:
            await batch.renew()
        except FeedError as exc:
            logger.warning("pump: messages may go to another pump too: %s", exc)
