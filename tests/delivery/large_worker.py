"""A process that submits conversions of 1 MB; prints by how many MB its memory grew at most.

``python large_worker.py memory|sqlite FILE COUNT``: one destination is slow, one accepts nothing.
It prints the growth, how many were delivered to the slow one, and how many the other was refused.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import anyio

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    DeliverySettings,
    MemoryOutbox,
    NeedsOperator,
    Outcome,
    SinkLimits,
    SQLiteOutbox,
)
from anytrack_async.events import Dropped

MEGABYTE = 1_000_000


class Slow:
    """A sink that takes its time, or refuses the token."""

    limits = SinkLimits(batch=100, concurrency=4)

    def __init__(self, name: str, *, held: bool = False) -> None:
        self.name = name
        self.held = held
        self.delivered = 0
        self.progress = anyio.Event()

    async def deliver(self, batch: Any) -> list[Outcome]:
        await anyio.sleep(0.01)
        if self.held:
            raise NeedsOperator("the token is refused")
        self.delivered += len(batch)
        self.progress.set()
        return [Outcome.delivered()] * len(batch)

    async def aclose(self) -> None: ...

    async def wait_for(self, count: int) -> None:
        while self.delivered < count:
            self.progress = anyio.Event()
            await self.progress.wait()


class Drops:
    """Counts the conversions that a full destination does not get."""

    count = 0

    def notify(self, event: object) -> None:
        if isinstance(event, Dropped) and event.reason == "it is full":
            self.count += len(event.event_ids)


def conversion(number: int) -> Conversion:
    text = f"{number:08}" * (MEGABYTE // 8)
    return Conversion.sale(revenue=1, order_id=f"{number}", custom_data={"document": text})


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MEGABYTE


async def main(engine: str, file: str, count: int) -> None:
    slow, held, drops = Slow("slow"), Slow("held", held=True), Drops()
    outbox = MemoryOutbox() if engine == "memory" else SQLiteOutbox(Path(file))
    settings = DeliverySettings(on_full="shed", drain=0.1)
    async with AnyTrackClient(
        "key",
        "account",
        sinks=[slow, held],
        outbox=outbox,
        delivery=settings,
        observers=[drops],
        log=False,
    ) as client:
        await client.submit(Conversion.lead(), to=["slow", "held"])
        await slow.wait_for(1)
        before = peak()
        for number in range(count):
            await client.submit(conversion(number), to=["slow", "held"])
            await slow.wait_for(number - 20)  # else its room would be full too
        await slow.wait_for(count + 1)
        print(peak() - before, slow.delivered - 1, drops.count, flush=True)
        os._exit(0)  # what the held one did not get is not the question


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
