"""What became of the accepted conversions: compares an outbox, its reports and the services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import attrs

from anytrack_async import AnyTrackClient, SQLiteOutbox
from anytrack_async.sandbox import HubSpotPortal, Sandbox, SandboxSettings
from tests.chaos.trial import Trial
from tests.end_to_end.shop import QUICK, SERVICES, ids

# HubSpot's ten-second limit would only take time.
SANDBOX = SandboxSettings(hubspot=HubSpotPortal(limit=1_000_000))

LONGEST = 120.0
"""Seconds after an attack within which everything must be delivered."""


async def audit(trial: Trial, sandbox: Sandbox, accepted: set[str]) -> None:
    """Deliver what is left in the trial's outbox, and count what was lost of *accepted*."""
    sandbox.latency(0)
    outbox = trial.outbox
    async with opened(outbox) as store:
        # Before anything is submitted or delivered: a lost conversion must not be accepted anew.
        known = (await store.reports([*accepted])).keys()
    await deliver_rest(outbox, sandbox)
    async with opened(outbox) as store:
        await verify(trial, store)
        reports = await store.reports([*accepted & known])
    undelivered = {event_id for event_id, report in reports.items() if not report.delivered}
    absent = {
        event_id for service in SERVICES for event_id in accepted - ids(sandbox, service).keys()
    }
    trial.count(accepted=len(accepted))
    trial.expect_none("lost", accepted - known)
    trial.expect_none("undelivered", undelivered | absent)
    trial.count(sent_twice=sum(sandbox.ledger()[service]["duplicates"] for service in SERVICES))


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteOutbox]:
    """Open an outbox without delivering anything."""
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    try:
        yield outbox
    finally:
        await outbox.aclose()


async def deliver_rest(outbox: Path, sandbox: Sandbox) -> None:
    """Deliver everything that waits in *outbox*, for up to `LONGEST` seconds."""
    delivery = attrs.evolve(QUICK, lease=120.0, drain=5.0)
    with anyio.move_on_after(LONGEST):
        async with AnyTrackClient.from_env(
            sandbox.environment(), outbox=outbox, delivery=delivery, log=False
        ) as client:
            # The outbox notifies nobody of conversions that earlier clients accepted.
            while any(depth.waiting for depth in (await client.outbox.depths()).values()):  # noqa: ASYNC110
                await anyio.sleep(0.05)


async def verify(trial: Trial, outbox: SQLiteOutbox) -> None:
    """Note a loss if the outbox finds damage in its file."""
    verification = await outbox.verify()
    for problem in verification.problems:
        trial.lose(f"{outbox.path}: {problem}")
