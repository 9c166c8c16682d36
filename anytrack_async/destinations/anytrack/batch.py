"""`Shift`: one batch on its way to AnyTrack, and what the workers that share it found out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import anyio
from anyio.abc import TaskGroup

from anytrack_async.destinations.anytrack.payload import encode, idempotency_key
from anytrack_async.destinations.anytrack.responses import outcome_of, weight
from anytrack_async.destinations.anytrack.slots import Slots
from anytrack_async.destinations.sink import SinkSignal, Unavailable, Unfinished
from anytrack_async.errors import TransportError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.transport.session import Session

_RETRY = Status.RETRY  # looking it up on the class takes a function call
_DISCOURAGED = 8  # failures of a batch without a single success that end it
_UNSENT = "not sent yet: the rest of its batch took too long, or failed"
_LOST = Outcome.retry("no response before its batch took too long")


class Shift:
    """One batch.

    Args:
        session: with AnyTrack.
        slots: what bounds the requests under way, of this batch and others.
        batch: what to send.
        seconds: for how long requests are started.
    """

    def __init__(
        self, session: Session, slots: Slots, batch: Sequence[Conversion], *, seconds: float
    ) -> None:
        self._session = session
        self._slots = slots
        self._rest: Iterator[tuple[int, Conversion]] = iter(enumerate(batch))
        self._outcomes: list[Outcome | None] = [None] * len(batch)
        self._signal: SinkSignal | None = None
        self._failure: Outcome | None = None
        self._failures = 0
        self._settled = 0
        self._held = 0
        self._over = False
        self._until = time.monotonic() + seconds

    async def run(self) -> None:
        """Send all of the batch, with as many slots as there are for it."""
        with self._slots.shared():
            if len(self._outcomes) == 1:
                if await self._slot():
                    await self._work()
                return
            async with anyio.create_task_group() as tasks:
                await self._recruit(tasks)

    def result(self, *, in_time: bool) -> Sequence[Outcome]:
        """Return the outcomes, or raise what concerns the batch."""
        if self._signal:
            self._signal.outcomes = tuple(self._outcomes)
            raise self._signal
        failure = self._failure if in_time else self._failure or _LOST
        if failure and not self._settled:
            raise Unavailable(failure.error or "", code=failure.code)
        if next(self._rest, None):
            raise Unfinished(_UNSENT, outcomes=tuple(self._outcomes))
        return [outcome or _LOST for outcome in self._outcomes]

    async def _recruit(self, tasks: TaskGroup) -> None:
        for _ in self._outcomes:
            if not await self._slot():
                return
            tasks.start_soon(self._work)

    async def _slot(self) -> bool:
        while not self._slots.take(self._held):
            await self._slots.news()
            if self._over or self._late:
                return False
        self._held += 1
        return True

    @property
    def _late(self) -> bool:
        return time.monotonic() >= self._until

    async def _work(self) -> None:
        """Send one after the other until the batch, the hope, or the right to a slot has ended."""
        try:
            for at, conversion in self._rest:
                self._outcomes[at] = _LOST
                self._outcomes[at] = outcome = await self._send(conversion)
                if outcome is not None and outcome.status is not _RETRY:
                    self._settled += 1
                elif self._discouraged(outcome):
                    break
                if self._signal or self._late:
                    break
                if self._held > self._slots.share:
                    return
            self._over = True
        finally:
            self._held -= 1
            self._slots.give()

    async def _send(self, conversion: Conversion) -> Outcome | None:
        try:
            response = await self._session.send(
                "POST",
                "conversions",
                content=encode(conversion),
                headers={"Idempotency-Key": idempotency_key(conversion.event_id)},
            )
            return outcome_of(response)
        except TransportError as exc:
            return Outcome.retry(str(exc))
        except SinkSignal as signal:
            if self._signal is None or weight(signal) > weight(self._signal):
                self._signal = signal
            return None

    def _discouraged(self, failure: Outcome | None) -> bool:
        if failure is not None:
            self._failure = failure
            self._failures += 1
        return not self._settled and self._failures >= _DISCOURAGED
