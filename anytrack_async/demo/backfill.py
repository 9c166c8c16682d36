"""The demo's work: every line of the sample through an outbox on disk to three services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.demo.audit import FinalState, Tally
from anytrack_async.demo.sample import sample
from anytrack_async.outbox.base import DeadLetter, Outbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry

_PAGE_SIZE = 500
# Never gives up and waits little: the services are on this machine.
_DELIVERY = DeliverySettings(
    retry=Retry(attempts=1_000, base=0.05, cap=0.5, hint_cap=0.25),
    probe=Retry(base=0.05, cap=0.5),
    poll=0.1,
    drain=3.0,
)


async def track_sample(environ: Mapping[str, str], outbox: Path, tally: Tally) -> FinalState:
    """Track every line of the sample; return the outbox's state once all have a report.

    Args:
        environ: variables that point a client at the sandbox.
        outbox: path of the outbox file.
        tally: counts lines, events and reports.
    """
    async with AnyTrackClient.from_env(
        {**environ, "ANYTRACK_OUTBOX": str(outbox)},
        delivery=_DELIVERY,
        observers=[tally],
        log=False,
    ) as client:
        async for report in client.track_many(tally.read(sample(tally.size))):
            tally.report(report)
        dead_letters = [letter async for letter in _dead_letters(client.outbox)]
        return FinalState(stats=await client.stats(), dead_letters=tuple(dead_letters))


async def _dead_letters(outbox: Outbox) -> AsyncIterator[DeadLetter]:
    after = 0
    while page := await outbox.dead_letters(after=after, limit=_PAGE_SIZE):
        for letter in page:
            yield letter
        after = page[-1].seq
