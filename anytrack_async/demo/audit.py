"""The demo's audit: is every line accounted for, and does every service count what we count?

`Tally` counts while the demo runs, `audit` compares its counts with the outbox and with the
sandbox's ledger in the end; the display shows both.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import attrs

from anytrack_async.client.stats import Stats
from anytrack_async.demo.sample import InvalidLine, ReadLine
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
from anytrack_async.models.contradiction import find_contradiction, summary
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.dead_letters import DeadLetter

_MAX_NAMED = 3


# Counting


@attrs.define
class ServiceTally:
    """The deliveries to one service so far.

    Attributes:
        delivered: event ids that the service accepted.
        dead: conversions that the service will never accept.
        retried: how often a conversion had to wait for another attempt.
        state: the state of its lane, in words; empty while the lane delivers.
        busy: seconds from the start to its latest delivery.
    """

    delivered: set[str] = attrs.field(factory=set)
    dead: int = 0
    retried: int = 0
    state: str = ""
    busy: float = 0.0


class Tally:
    """Counts lines, conversions and outcomes: an observer of the client.

    The display reads it from another thread.

    Attributes:
        size: number of lines in the file.
        services: destination → its deliveries.
        lines: lines read.
        invalid: lines that could not be read as a conversion.
        numbers: event id → the numbers of its lines.
        contradictions: line → event id, for lines that repeat an event id with another type,
            amount or currency.
        accepted: new conversions in the outbox.
        reports: reports received.
        contradictions_reported: reports of a contradiction among them.
        unfinished: event ids with a report that is not final.
        seconds: from the first line to the last report.
    """

    def __init__(self, size: int, services: Iterable[str]) -> None:
        self.size = size
        self.services = {name: ServiceTally() for name in services}
        self.lines = 0
        self.invalid: list[InvalidLine] = []
        self.numbers: dict[str, list[int]] = {}
        self.contradictions: dict[int, str] = {}
        self.accepted = 0
        self.reports = 0
        self.contradictions_reported = 0
        self.unfinished: list[str] = []
        self.seconds = 0.0
        self._summaries: dict[str, str] = {}
        self._started = time.perf_counter()

    @property
    def repeats(self) -> int:
        """Lines that repeat an earlier line and do not contradict it."""
        # The sample: 986 valid lines, 959 event ids, 3 contradictions: 986 - 959 - 3 = 24 repeats.
        return sum(map(len, self.numbers.values())) - len(self.numbers) - len(self.contradictions)

    def read(self, lines: Iterable[ReadLine]) -> Iterator[Conversion]:
        """Count *lines* and return their conversions."""
        for line in lines:
            self.lines += 1
            if isinstance(line, InvalidLine):
                self.invalid.append(line)
            else:
                number, conversion = line
                self._record(number, conversion)
                yield conversion

    def _record(self, number: int, conversion: Conversion) -> None:
        event_id, repeat = conversion.event_id, summary(conversion)
        self.numbers.setdefault(event_id, []).append(number)
        first = self._summaries.setdefault(event_id, repeat)
        if find_contradiction(event_id, first, repeat):
            self.contradictions[number] = event_id

    def report(self, report: Report) -> None:
        """Count the report of one line."""
        self.reports += 1
        self.seconds = self._elapsed()
        self.contradictions_reported += report.contradicts is not None
        if not report.final:
            self.unfinished.append(report.event_id)

    def notify(self, event: Event, /) -> None:
        """Count *event*."""
        match event:
            case Submitted(event_ids=ids):
                self.accepted += len(ids)
            case Delivered(destination=name, event_ids=ids):
                self.services[name].delivered.update(ids)
                self.services[name].busy = self._elapsed()
            case DeadLettered(destination=name):
                self.services[name].dead += 1
            case Retried(destination=name, event_ids=ids):
                self.services[name].retried += len(ids)
            case LaneThrottled(destination=name):
                self.services[name].state = "asked to slow down"
            case LaneDown(destination=name):
                self.services[name].state = "down, probing"
            case LaneHeld(destination=name):
                self.services[name].state = "stopped until an operator acts"
            case LaneResumed(destination=name):
                self.services[name].state = ""
            case _:
                pass

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


# Comparing


@attrs.frozen(kw_only=True)
class FinalState:
    """The outbox and the client when every line has a report.

    Attributes:
        stats: the client's counters and the outbox's depths.
        dead_letters: all of them.
    """

    stats: Stats
    dead_letters: tuple[DeadLetter, ...]


@attrs.frozen(kw_only=True)
class Rejection:
    """A conversion or line that did not reach every service.

    Attributes:
        lines: numbers of its lines.
        event_id: its event id, or its order id; None where neither could be read.
        rejected_by: `reading`, `outbox`, or the service.
        reason: in the words of the part that rejected it.
    """

    lines: tuple[int, ...]
    event_id: str | None
    rejected_by: str
    reason: str


@attrs.frozen(kw_only=True)
class ServiceCounts:
    """One service: our counts and its own.

    Attributes:
        name: of the service.
        delivered: conversions delivered, by our count.
        dead: dead letters.
        rate: conversions delivered a second.
        requests: requests in the service's ledger.
        unique: different conversions in the service's ledger.
        duplicates: conversions that arrived at the service again and were dropped there.
        faults: faults injected on purpose.
        counted_again: conversions that the service counted once more, because they have no order id
            by which it would recognise them.
    """

    name: str
    delivered: int
    dead: int
    rate: float
    requests: int
    unique: int
    duplicates: int
    faults: int
    counted_again: int = 0


@attrs.frozen(kw_only=True)
class Audit:
    """The result of the audit.

    Attributes:
        services: the counts of each.
        rejections: by part, then by line.
        problems: lines unaccounted for and counts that differ; empty is good.
    """

    services: tuple[ServiceCounts, ...]
    rejections: tuple[Rejection, ...]
    problems: tuple[str, ...]


def audit(
    tally: Tally,
    state: FinalState,
    ledger: Mapping[str, Mapping[str, Any]],
    *,
    by_order_id: Collection[str] = (),
) -> Audit:
    """Compare our counts with the outbox and with each service's ledger.

    Args:
        tally: the counts made while the demo ran.
        state: the outbox and the client in the end.
        ledger: service → its page of the sandbox's ledger, with event ids.
        by_order_id: services that recognise a repeat by its order id only.
    """
    again = {name: ledger[name]["unique"] - len(ledger[name]["ids"]) for name in by_order_id}
    parts = ("reading", "outbox", *tally.services)
    return Audit(
        services=tuple(
            _counts(name, tally, state, ledger[name], again.get(name, 0)) for name in tally.services
        ),
        rejections=_in_order(_rejections(tally, state), parts),
        problems=tuple(_problems(tally, state, ledger, again)),
    )


def _counts(
    name: str, tally: Tally, state: FinalState, page: Mapping[str, Any], again: int
) -> ServiceCounts:
    service, stats = tally.services[name], state.stats.destinations[name]
    return ServiceCounts(
        name=name,
        delivered=stats.delivered,
        dead=stats.dead,
        rate=stats.delivered / service.busy if service.busy else 0.0,
        requests=page["requests"],
        unique=page["unique"] - again,
        duplicates=page["duplicates"],
        faults=sum(page["faults"].values()),
        counted_again=again,
    )


def _in_order(rejections: Iterable[Rejection], parts: Sequence[str]) -> tuple[Rejection, ...]:
    return tuple(sorted(rejections, key=lambda r: (parts.index(r.rejected_by), r.lines)))


def _rejections(tally: Tally, state: FinalState) -> Iterator[Rejection]:
    for invalid in tally.invalid:
        yield Rejection(
            lines=(invalid.line,),
            event_id=invalid.order_id,
            rejected_by="reading",
            reason=invalid.reason,
        )
    for line, event_id in tally.contradictions.items():
        reason = "contradicts an earlier line with its event id; the earlier line was sent"
        yield Rejection(lines=(line,), event_id=event_id, rejected_by="outbox", reason=reason)
    for letter in state.dead_letters:
        event_id = letter.conversion.event_id
        lines = tuple(n for n in tally.numbers.get(event_id, ()) if n not in tally.contradictions)
        yield Rejection(
            lines=lines, event_id=event_id, rejected_by=letter.destination, reason=letter.error
        )


def _problems(
    tally: Tally,
    state: FinalState,
    ledger: Mapping[str, Mapping[str, Any]],
    again: Mapping[str, int],
) -> Iterator[str]:
    yield from _line_problems(tally)
    for name in tally.services:
        yield from _delivery_problems(name, tally, state)
        yield from _ledger_problems(name, tally, ledger[name], again.get(name, 0))


def _line_problems(tally: Tally) -> Iterator[str]:
    # Every line ends as a report or as an invalid line, and never as both.
    accounted = tally.reports + len(tally.invalid)
    if tally.lines != tally.size or accounted != tally.size:
        yield f"of {tally.size} lines, {tally.lines} were read and {accounted} are accounted for"
    if tally.contradictions_reported != len(tally.contradictions):
        yield (
            f"{tally.contradictions_reported} contradictions were reported, "
            f"{len(tally.contradictions)} are in the file"
        )
    if tally.unfinished:
        yield f"neither delivered nor dead: {_abridge(set(tally.unfinished))}"


def _delivery_problems(name: str, tally: Tally, state: FinalState) -> Iterator[str]:
    delivered = tally.services[name].delivered
    # A dead letter without a reason explains nothing: its conversion stays unaccounted for.
    dead = {
        letter.conversion.event_id
        for letter in state.dead_letters
        if letter.destination == name and letter.error
    }
    if missing := tally.numbers.keys() - delivered - dead:
        yield f"{name}: neither delivered nor in the dead letters: {_abridge(missing)}"
    if contradictory := delivered & dead:
        yield f"{name}: delivered and in the dead letters: {_abridge(contradictory)}"
    stats = state.stats.destinations[name]
    if (stats.delivered, stats.dead) != (len(delivered), len(dead)):
        yield (
            f"{name}: the client counts {stats.delivered} delivered and {stats.dead} dead, "
            f"its observer {len(delivered)} and {len(dead)}"
        )


def _ledger_problems(name: str, tally: Tally, page: Mapping[str, Any], again: int) -> Iterator[str]:
    ours = tally.services[name].delivered
    # Equal counts can hide one lost and one invented conversion, so the ids are compared as well.
    # AnyTrack gets the event id in a header, percent-encoded because headers are ASCII.
    theirs = {unquote(event_id) if name == "anytrack" else event_id for event_id in page["ids"]}
    if (count := page["unique"] - again) != len(ours):
        yield f"{name}: its ledger counts {count} conversions, we delivered {len(ours)}"
    if missing := ours - theirs:
        yield f"{name}: counted as delivered, but not in its ledger: {_abridge(missing)}"
    if extra := theirs - ours:
        yield f"{name}: in its ledger, but not counted as delivered: {_abridge(extra)}"


def _abridge(event_ids: set[str]) -> str:
    more = len(event_ids) - _MAX_NAMED
    names = ", ".join(sorted(event_ids)[:_MAX_NAMED])
    return names + (f" and {more} more" if more > 0 else "")
