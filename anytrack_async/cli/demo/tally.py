"""What the demo counts while it runs: `Tally`, an observer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import attrs

from anytrack_async.cli.sample import Fault
from anytrack_async.codec.storage import encode
from anytrack_async.events import (
    DeadLettered,
    Delivered,
    Event,
    LaneDown,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    Retried,
    Submitted,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report, Status


@attrs.define
class Service:
    """What one service got so far.

    Attributes:
        delivered: event ids it has.
        dead: conversions it will never take.
        retried: times a conversion had to wait for another try.
        state: what its lane does now, for people.
        busy: seconds from the start to its latest answer.
    """

    delivered: set[str] = attrs.field(factory=set)
    dead: int = 0
    retried: int = 0
    state: str = ""
    busy: float = 0.0


class Tally:
    """Counts lines, conversions and outcomes; the display reads it from another thread.

    Attributes:
        size: lines there will be.
        services: destination → what it got.
        lines: lines read.
        faults: lines that are no conversion.
        numbers: event id → the lines it came in.
        conflicts: line → event id of those whose event id came before with other content.
        accepted: new conversions that the outbox has.
        reports: reports that came back.
        refused: reports of a conflict among them.
        unfinished: event ids reported without being delivered or dead everywhere.
        seconds: from the first line to the last report.
    """

    def __init__(self, size: int, services: Iterable[str]) -> None:
        self.size = size
        self.services = {name: Service() for name in services}
        self.lines = 0
        self.faults: list[Fault] = []
        self.numbers: dict[str, list[int]] = {}
        self.conflicts: dict[int, str] = {}
        self.accepted = 0
        self.reports = 0
        self.refused = 0
        self.unfinished: list[str] = []
        self.seconds = 0.0
        self._digests: dict[str, bytes] = {}
        self._started = time.perf_counter()

    @property
    def repeats(self) -> int:
        """Lines that came before with the same content."""
        return sum(map(len, self.numbers.values())) - len(self.numbers) - len(self.conflicts)

    def read(self, lines: Iterable[tuple[int, Conversion] | Fault]) -> Iterator[Conversion]:
        """Return the conversions in *lines*, and take note of everything else."""
        for found in lines:
            self.lines += 1
            if isinstance(found, Fault):
                self.faults.append(found)
            else:
                self._note(*found)
                yield found[1]

    def _note(self, line: int, conversion: Conversion) -> None:
        event_id, digest = conversion.event_id, encode(conversion).digest
        self.numbers.setdefault(event_id, []).append(line)
        if self._digests.setdefault(event_id, digest) != digest:
            self.conflicts[line] = event_id

    def report(self, report: Report) -> None:
        """Count the report of one line."""
        self.reports += 1
        self.seconds = self._now()
        if any(one.status is Status.CONFLICT for one in report.outcomes.values()):
            self.refused += 1
        elif not report.final:
            self.unfinished.append(report.event_id)

    def notify(self, event: Event, /) -> None:
        """Count *event*."""
        match event:
            case Submitted(event_ids=ids):
                self.accepted += len(ids)
            case Delivered(destination=name, event_ids=ids):
                self.services[name].delivered.update(ids)
                self.services[name].busy = self._now()
            case DeadLettered(destination=name):
                self.services[name].dead += 1
            case Retried(destination=name, event_ids=ids):
                self.services[name].retried += len(ids)
            case LaneThrottled(destination=name):
                self.services[name].state = "asked to slow down"
            case LaneDown(destination=name):
                self.services[name].state = "does not answer, probing"
            case LaneHeld(destination=name):
                self.services[name].state = "refuses the credentials"
            case LaneResumed(destination=name):
                self.services[name].state = ""
            case _:
                pass

    def _now(self) -> float:
        return time.perf_counter() - self._started
