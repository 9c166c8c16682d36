"""Closing: steps after the drain, each with a deadline, and a report of undelivered conversions."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio

from anytrack_async.delivery.delivery import (
    Delivery,
)
from anytrack_async.delivery.open_deliveries import (
    OpenDeliveries,
)
from anytrack_async.descriptions import abbreviated, safe_description
from anytrack_async.destinations.sink import Sink
from anytrack_async.errors import UndeliveredError
from anytrack_async.events import Dropped, Event, logger
from anytrack_async.outbox.base import Outbox

_STEP_TIMEOUT = 5.0
"""Seconds that each step may take."""

_MAX_LISTED = 1000
"""Conversions to list, per destination, where a durable outbox keeps them anyway."""


async def close_all(sinks: Sequence[Sink], outbox: Outbox) -> None:
    """Close *sinks*, all at once, then *outbox*; failures are logged."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as tg:
            for sink in sinks:
                if close := getattr(sink, "aclose", None):
                    tg.start_soon(run_with_deadline, f"closing sink {sink.name!r}", close)
        await run_with_deadline("closing the outbox", outbox.aclose)


async def run_with_deadline(description: str, step: Callable[[], Awaitable[None]]) -> None:
    """Run *step*, also when cancelled; if it fails or takes too long, log that."""
    # The shield keeps the caller's cancellation out, and its deadline keeps a step from hanging.
    with anyio.move_on_after(_STEP_TIMEOUT, shield=True) as limit:
        try:
            await step()
        except Exception as exc:
            logger.error("%s failed: %s", description, safe_description(exc))
    if limit.cancelled_caught:
        logger.error("%s took longer than %g s", description, _STEP_TIMEOUT)


class Undelivered:
    """The conversions that are accepted but not delivered when the client closes.

    Attributes:
        event_ids: destination → ids of conversions not delivered to it: all of them if they are
            lost, up to 1,000 if the outbox keeps them.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.event_ids: dict[str, Sequence[str]] = {}
        self._outbox = outbox

    def __bool__(self) -> bool:
        return bool(self.event_ids)

    def __str__(self) -> str:
        parts = [f"{name}: {_listed(ids)}" for name, ids in self.event_ids.items()]
        return f"accepted but not delivered when the client closed ({self._advice}): " + "; ".join(
            parts
        )

    @property
    def lost(self) -> Mapping[str, Sequence[str]]:
        """Destination → ids that are lost with this process; empty for a durable outbox."""
        return {} if self._outbox.durable else self.event_ids

    @property
    def _advice(self) -> str:
        if self._outbox.durable:
            return "kept in the outbox: the next client that opens it continues"
        return "lost, because the outbox was only in memory: submit again, or use SQLiteOutbox"

    async def report(
        self,
        destinations: Sequence[str],
        open_deliveries: OpenDeliveries,
        notify: Callable[[Event], None],
    ) -> None:
        """Read which conversions *destinations* did not get; notify waiting callers, observers."""
        if self._outbox.shared:
            await run_with_deadline(
                "reading the results of other processes", open_deliveries.refresh_awaited
            )
        await run_with_deadline("listing undelivered conversions", lambda: self._read(destinations))
        await open_deliveries.fail(self._error_for)
        if self and not self.lost:
            logger.info("%s", self)
        for name, ids in self.lost.items():
            reason = "the client closed and the outbox was only in memory"
            notify(Dropped(destination=name, event_ids=ids, reason=reason))

    async def _read(self, destinations: Sequence[str]) -> None:
        depths = await self._outbox.depths()
        for name in filter(depths.__contains__, destinations):
            # Without an outbox on disk the ids in the error are all that is left: list every one.
            limit = _MAX_LISTED if self._outbox.durable else max(1, depths[name].waiting)
            if ids := await self._outbox.undelivered(name, limit=limit):
                self.event_ids[name] = ids

    def error(self) -> UndeliveredError:
        """Return the error that closing the client raises."""
        return UndeliveredError(str(self), self.event_ids)

    def _error_for(self, delivery: Delivery) -> UndeliveredError:
        event_id, pending = delivery.event_id, delivery.pending
        return UndeliveredError(
            f"the client closed before {event_id!r} was delivered to {', '.join(pending)}; "
            + self._advice,
            {name: [event_id] for name in pending},
        )


def _listed(event_ids: Sequence[str]) -> str:
    return ("at least " if len(event_ids) == _MAX_LISTED else "") + abbreviated(event_ids)


async def warn_of_orphans(outbox: Outbox, destinations: Sequence[str]) -> None:
    """Log the backlogs that no lane delivers: those of destinations not in *destinations*."""
    for name in await outbox.destinations():
        if name not in destinations:
            logger.warning(
                "the outbox keeps conversions for %r, which has no sink here; if that destination "
                "is gone for good, remove it with `anytrack outbox remove-destination %s`, or with "
                "`await client.outbox.forget(%r)`",
                name,
                shlex.quote(name),
                name,
            )
