"""A disk that becomes full while the services are down, and stays full when they are back."""

from __future__ import annotations

from pathlib import Path

import anyio
import attrs

from anytrack_async import AnyTrackClient, OutboxError
from anytrack_async.sandbox import Sandbox, running
from tests.chaos.audit import LONGEST, SANDBOX, opened, verify
from tests.chaos.disk import SQLITE_FULL, SQLITE_OK, watching
from tests.chaos.trial import Round, Trial
from tests.end_to_end.shop import QUICK, SERVICES, ids, sale

CAPACITIES = (11_000_000, 13_000_000)
"""Bytes, from and to; the outbox keeps about 9 MB of them as a reserve."""

_REFUSALS = 5
"""Refused submissions after which the disk counts as full."""


@attrs.frozen
class SmallDisk:
    """A disk on which all files in *folder* may take *capacity* bytes; a `disk.Disk`."""

    folder: Path
    capacity: int

    @property
    def free(self) -> int:
        """The number of bytes that are free."""
        return self.capacity - sum(file.stat().st_size for file in self.folder.iterdir())

    def write(self, file: str, offset: int, data: bytes) -> int:
        """Refuse a write for which a file would have to grow beyond what is free."""
        growth = offset + len(data) - (self.folder / file).stat().st_size
        return SQLITE_FULL if growth > max(0, self.free) else SQLITE_OK

    def truncate(self, file: str, size: int) -> int:
        """Allow it."""
        return SQLITE_OK

    def sync(self, file: str) -> int:
        """Allow it."""
        return SQLITE_OK

    def delete(self, file: str) -> int:
        """Allow it."""
        return SQLITE_OK


async def attack(trial: Trial) -> None:
    """Fill a small disk, bring the services back, and deliver without any more space."""
    with running(SANDBOX) as sandbox:
        for round_ in trial.rounds():
            sandbox.reset()
            disk = SmallDisk(round_.folder, round_.random.randint(*CAPACITIES))
            with watching(round_.folder, disk):
                accepted = await _fill_and_deliver(trial, round_, sandbox)
            absent = {
                event_id
                for service in SERVICES
                for event_id in accepted - ids(sandbox, service).keys()
            }
            trial.count(disks=1, accepted=len(accepted))
            trial.expect_none("undelivered", absent)
            async with opened(round_.folder / "outbox.db") as store:
                await verify(trial, store)


async def _fill_and_deliver(trial: Trial, round_: Round, sandbox: Sandbox) -> set[str]:
    sandbox.down()
    async with AnyTrackClient.from_env(
        sandbox.environment(),
        outbox=round_.folder / "outbox.db",
        delivery=attrs.evolve(QUICK, drain=1.0),
        log=False,
    ) as client:
        accepted = await _fill(trial, round_, client)
        sandbox.down(down=False)
        with anyio.move_on_after(LONGEST):
            # The outbox notifies nobody of what became of a conversion.
            while any(depth.waiting for depth in (await client.outbox.depths()).values()):  # noqa: ASYNC110
                await anyio.sleep(0.05)
    return accepted


async def _fill(trial: Trial, round_: Round, client: AnyTrackClient) -> set[str]:
    """Submit until the disk is full; return the ids that were accepted."""
    accepted: set[str] = set()
    refusals, number = 0, 0
    while refusals < _REFUSALS:
        size = round_.random.choice((1, 20, 200))
        batch = [sale(n) for n in range(number, number + size)]
        number += size
        try:
            await client.submit_many(batch)
            accepted |= {conversion.event_id for conversion in batch}
        except OutboxError:
            refusals += 1
    trial.count(refused=refusals)
    return accepted
