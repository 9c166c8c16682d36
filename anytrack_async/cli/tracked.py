"""Tracking one conversion from a shell, and what is known of it in the end: `Tracked`."""

from __future__ import annotations

import os

import anyio
import attrs

from anytrack_async.cli.output import complain
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import OUTBOX, outbox_from_env, sinks_from_env
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.errors import ConfigurationError, ConflictError, UndeliveredError
from anytrack_async.events import Event, LaneHeld, LoggingObserver, Weakened
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox.base import Appended
from anytrack_async.settings.delivery import DeliverySettings

_DRAIN = 3.0


@attrs.frozen(kw_only=True)
class Tracked:
    """What is known of a conversion that was tracked.

    Attributes:
        report: how it stands everywhere.
        kept_in: path of the outbox that has it, None for this process's memory.
        waited: whether anybody waited for the destinations.
    """

    report: Report
    kept_in: str | None
    waited: bool = True

    @property
    def fine(self) -> bool:
        """Whether all is as asked for."""
        return self.report.delivered or not self.waited

    @property
    def advice(self) -> str:
        """What to do about it."""
        dead = [n for n, one in self.report.outcomes.items() if one.status is Status.DEAD]
        event_id = self.report.event_id
        if dead and self.report.final:
            again = f"anytrack outbox replay {dead[0]}" if self.kept_in else "track it again"
            return (
                f"{event_id} was refused by {', '.join(dead)}: correct it under a new event id, or "
                f"what they lack, then {again}"
            )
        if self.kept_in:
            return (
                f"{event_id} is not everywhere yet, but kept in {self.kept_in}: the next client "
                "that opens it goes on; do not track it again"
            )
        return (
            f"{event_id} is not everywhere, and nothing keeps it: track it again with "
            f"--event-id {event_id}, so that it is known as the same, or set {OUTBOX} to a file"
        )


class _Wait:
    """Waits for a delivery, but not for a destination that refuses the credentials."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._waits: dict[str, anyio.CancelScope] = {}
        self._delivery: Delivery | None = None

    def notify(self, event: Event, /) -> None:
        if isinstance(event, Weakened):
            LoggingObserver().notify(event)
        elif isinstance(event, LaneHeld):
            self._held.add(event.destination)
            if event.destination in self._waits:
                self._waits[event.destination].cancel()

    async def done(self, delivery: Delivery, timeout: float) -> None:
        """Wait until each destination has it, never will, or is held; *timeout* seconds at most."""
        self._delivery = delivery
        with anyio.move_on_after(timeout):
            for name in delivery.report.outcomes:
                self._waits[name] = anyio.CancelScope()
                if name in self._held:
                    self._waits[name].cancel()
                with self._waits[name]:
                    await delivery.at(name)

    def say_what_is_left(self) -> None:
        """Complain if the conversion is not everywhere."""
        if self._delivery is not None and not (left := _now(self._delivery)).fine:
            complain(left.advice)


async def track_now(conversion: Conversion, timeout: float) -> Tracked:
    """Track *conversion* by a client set up from the environment; wait *timeout* seconds at most.

    Raises:
        AnyTrackError: it was not accepted.
    """
    wait = _Wait()
    client = AnyTrackClient.from_env(
        observers=[wait], log=False, delivery=DeliverySettings(drain=_DRAIN)
    )
    try:
        async with client:
            delivery = await client.submit(conversion)
            await wait.done(delivery, timeout)
    except UndeliveredError:
        pass  # the report says it, by destination
    except anyio.get_cancelled_exc_class():
        wait.say_what_is_left()
        raise
    return _now(delivery)


def _now(delivery: Delivery) -> Tracked:
    return Tracked(report=delivery.report, kept_in=_kept_in())


async def write_down(conversion: Conversion) -> Tracked:
    """Write *conversion* into the outbox file for all destinations set up; send nothing.

    Raises:
        ConfigurationError: there is no outbox file to keep it.
        ConflictError: its event id was accepted before with other content.
    """
    if _kept_in() is None:
        raise ConfigurationError(f"--no-wait needs a file to keep the conversion in: set {OUTBOX}")
    AnyTrackSettings.from_env()
    names = ["anytrack", *(sink.name for sink in sinks_from_env())]
    outbox = outbox_from_env()
    await outbox.open(names)
    try:
        if await outbox.append([conversion]) == [Appended.CONFLICT]:
            raise ConflictError(conversion.event_id)
        reports = await outbox.reports([conversion.event_id])
    finally:
        await outbox.aclose()
    return Tracked(report=reports[conversion.event_id], kept_in=_kept_in(), waited=False)


def _kept_in() -> str | None:
    return os.environ.get(OUTBOX) or None
