"""One worker of `anytrack demo --postgres`: delivers until its standard input ends."""

from __future__ import annotations

import sys

import anyio

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings

LEASE = 5.0
"""Seconds after which another worker takes over a killed worker's claim: short, for a demo."""


async def work() -> None:
    """Deliver the conversions in the outbox that the environment names."""
    client = AnyTrackClient.from_env(
        delivery=DeliverySettings(lease=LEASE, poll=0.1, drain=5.0),
        http=HttpSettings(timeout=1.0),
        log=False,
    )
    async with client:
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    anyio.run(work)
