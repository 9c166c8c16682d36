"""`farewell`: the steps after the drain, none of which may hang or hide another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from anytrack_async.destinations.sink import Sink
from anytrack_async.errors import safe_description
from anytrack_async.events import logger
from anytrack_async.outbox.base import Outbox

_LONGEST = 5.0
"""Seconds that each step may take."""


async def farewell(sinks: Sequence[Sink], outbox: Outbox) -> None:
    """Close *sinks*, all at once, then *outbox*; what fails is logged."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as tg:
            for sink in sinks:
                if close := getattr(sink, "aclose", None):
                    tg.start_soon(within, f"closing sink {sink.name!r}", close)
        await within("closing the outbox", outbox.aclose)


async def within(what: str, step: Callable[[], Awaitable[None]]) -> None:
    """Do *step*, also when cancelled; if it fails or takes too long, say so in the log."""
    with anyio.move_on_after(_LONGEST, shield=True) as limit:
        try:
            await step()
        except Exception as exc:  # sinks and outbox may be anybody's
            logger.error("%s failed: %s", what, safe_description(exc))
    if limit.cancelled_caught:
        logger.error("%s took longer than %g s", what, _LONGEST)
