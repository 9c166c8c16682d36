"""The work of the demo: every line through an outbox on disk to three services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import attrs

from anytrack_async.cli.demo.tally import Tally
from anytrack_async.cli.sample import sample
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.stats import Stats
from anytrack_async.outbox.base import DeadLetter, Outbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry

_PAGE = 500


@attrs.frozen(kw_only=True)
class Kept:
    """What the outbox has in the end.

    Attributes:
        stats: the client's counters and the outbox's depths.
        dead: every dead letter.
    """

    stats: Stats
    dead: tuple[DeadLetter, ...]


def impatient() -> DeliverySettings:
    """Return settings that never give up and wait little: the services are on this machine."""
    return DeliverySettings(
        retry=Retry(attempts=1_000, base=0.05, cap=0.5, hint_cap=0.25),
        probe=Retry(base=0.05, cap=0.5),
        poll=0.1,
        drain=3.0,
    )


async def back_fill(environ: Mapping[str, str], outbox: Path, tally: Tally) -> Kept:
    """Track every line of the sample; return what the outbox says once all are reported."""
    async with AnyTrackClient.from_env(
        {**environ, "ANYTRACK_OUTBOX": str(outbox)},
        delivery=impatient(),
        observers=[tally],
        log=False,
    ) as client:
        async for report in client.track_many(tally.read(sample(tally.size))):
            tally.report(report)
        dead = [letter async for letter in dead_letters(client.outbox)]
        return Kept(stats=await client.stats(), dead=tuple(dead))


async def dead_letters(outbox: Outbox) -> AsyncIterator[DeadLetter]:
    """Return all dead letters in *outbox*."""
    after = 0
    while page := await outbox.dead_letters(after=after, limit=_PAGE):
        for letter in page:
            yield letter
        after = page[-1].seq
