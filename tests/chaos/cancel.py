"""Tasks that are cancelled at any moment: while they submit, while they wait, while they close.

Moments are counted in steps of the event loop, so that a cancellation reaches every ``await``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import anyio
import attrs
import httpx
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from anytrack_async import (
    AnyTrackClient,
    DeadLettered,
    DeadLetterError,
    Delivered,
    Dropped,
    Event,
    UndeliveredError,
)
from tests.chaos.audit import opened
from tests.chaos.trial import Round, Trial
from tests.client.service import QUICK, Service
from tests.end_to_end.shop import sale

_CALLERS = 12
_DESTINATIONS = ("anytrack", "meta")
_MAX_STEPS = 400
"""Steps of the event loop before a cancellation; a round of calls takes about 300."""


class Diary:
    """An observer that notes what became of conversions.

    Attributes:
        ended: destination → ids of conversions that were delivered, dropped or are dead letters.
    """

    def __init__(self) -> None:
        self.ended: dict[str, set[str]] = {name: set() for name in _DESTINATIONS}

    def notify(self, event: Event, /) -> None:
        """Note *event*."""
        match event:
            case (
                Delivered(destination=name, event_ids=ids)
                | Dropped(destination=name, event_ids=ids)
            ):
                self.ended[name].update(ids)
            case DeadLettered(destination=name, event_id=event_id):
                self.ended[name].add(event_id)


class SlowService(Service):
    """Answers after a random number of steps, sometimes with an error; never if it *hangs*."""

    def __init__(self, random: Random, *, hangs: bool) -> None:
        super().__init__()
        self._random = random
        self._hangs = hangs

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer, or fail."""
        await _steps(self._random.randint(0, 30))
        if self._hangs:
            await anyio.sleep_forever()
        if self._random.random() < 0.1:
            raise httpx.ReadError("lost")
        return await super().__call__(request)


@attrs.define
class Calls:
    """Tasks that call a client, and what it told them.

    Attributes:
        accepted: ids of conversions for which a call returned.
        share: of the tasks that are cancelled, 0 to 1.
        cancelled: number of calls that were cancelled.
    """

    random: Random
    share: float
    accepted: set[str] = attrs.field(factory=set)
    cancelled: int = 0

    async def run(self, client: AnyTrackClient) -> None:
        """Open the client, call it from many tasks, and leave; some of it is cancelled."""
        try:
            async with client, anyio.create_task_group() as tasks:
                for caller in range(_CALLERS):
                    tasks.start_soon(self._cancel_sometimes, tasks, client, caller)
        except* UndeliveredError:
            pass  # the conversions that it names are those of the events `Dropped`

    async def _cancel_sometimes(
        self, tasks: TaskGroup, client: AnyTrackClient, caller: int
    ) -> None:
        with anyio.CancelScope() as scope:
            if self.random.random() < self.share:
                tasks.start_soon(_cancel_after, scope, self.random.randrange(_MAX_STEPS))
            await _steps(self.random.randrange(60))
            await self._call(client, range(caller * 100, caller * 100 + 100))
        self.cancelled += scope.cancelled_caught

    async def _call(self, client: AnyTrackClient, numbers: Sequence[int]) -> None:
        batch = [sale(number) for number in numbers[: self.random.choice((1, 5, 30))]]
        ids = [conversion.event_id for conversion in batch]
        match self.random.choice(("submit", "submit_many", "track", "track_many")):
            case "submit":
                for conversion in batch:
                    await client.submit(conversion)
                    self.accepted.add(conversion.event_id)
            case "submit_many":
                deliveries = await client.submit_many(batch)
                self.accepted.update(ids)
                await deliveries[0]
            case "track":
                with suppress(DeadLetterError):
                    await client.track_conversion(batch[0])
                self.accepted.add(ids[0])
            case "track_many":
                async for report in client.track_many(batch):
                    self.accepted.add(report.event_id)


async def attack(trial: Trial) -> None:
    """Cancel calls and whole clients; what was accepted must be delivered, named or on disk."""
    for round_ in trial.rounds():
        durable = bool(round_.number % 2)
        outbox = round_.folder / "outbox.db" if durable else None
        hangs = round_.random.random() < 0.3
        service, diary = SlowService(round_.random, hangs=hangs), Diary()
        drain = 0.05 if hangs else round_.random.choice((0.0, 0.02, 5.0))
        client = AnyTrackClient(
            "key",
            "account",
            sinks=[service.meta()],
            transport=service.transport,
            outbox=outbox,
            delivery=attrs.evolve(QUICK, drain=drain),
            observers=[diary],
            log=False,
        )
        # Tasks that wait for a service that hangs end by being cancelled only.
        calls = Calls(round_.random, share=1.0 if hangs else 0.6)
        closing = await _run(trial, round_, calls, client)
        ended = set.intersection(*diary.ended.values())
        kept = await _on_disk(outbox) if outbox else set()
        trial.count(cancelled_calls=calls.cancelled, cancelled_clients=closing)
        trial.count(accepted=len(calls.accepted), delivered_or_named=len(calls.accepted & ended))
        trial.count(on_disk=len(calls.accepted & kept - ended))
        trial.expect_none("lost", calls.accepted - ended - kept)


async def _run(trial: Trial, round_: Round, calls: Calls, client: AnyTrackClient) -> int:
    """Run the calls; return 1 if the client was cancelled as a whole."""
    with anyio.move_on_after(30) as limit:
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                if round_.random.random() < 0.5:
                    tasks.start_soon(_cancel_after, scope, round_.random.randrange(_MAX_STEPS))
                await calls.run(client)
            tasks.cancel_scope.cancel()
    if limit.cancelled_caught:
        trial.lose(f"round {round_.number}: closing had no end")
    return int(scope.cancelled_caught)


async def _on_disk(outbox: Path) -> set[str]:
    """Return the ids of all conversions in a file, delivered or not."""
    async with opened(outbox) as store:
        everything = [sale(number).event_id for number in range(_CALLERS * 100)]
        return set(await store.reports(everything))


async def _cancel_after(scope: anyio.CancelScope, steps: int) -> None:
    await _steps(steps)
    scope.cancel()


async def _steps(count: int) -> None:
    for _ in range(count):
        await checkpoint()
