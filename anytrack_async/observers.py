"""Observers: notifying several at once, and `LoggingObserver`, which writes the log.

A thousand conversions that are rejected for one reason are a thousand events and two lines of log:
the first at once, the others as a number. So a log stays readable when it is needed most.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import iscoroutinefunction

import attrs

from anytrack_async.descriptions import MAX_IDS, abbreviated
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import (
    BackPressureEnded,
    Contradicted,
    DeadLettered,
    Dropped,
    Event,
    LogLine,
    Observer,
    Skipped,
    Weakened,
    logger,
)
from anytrack_async.models.contradiction import Contradiction

__all__ = ["LoggingObserver"]


# Several observers


_MAX_FAILURES = 100
"""Kinds of failures of observers that are told apart; further kinds are not logged."""


class Observers:
    """Several observers as one; if one fails, the others are still notified.

    A failure is logged once for each observer and type of exception, with its traceback; the
    observer is notified of later events nevertheless.

    Raises:
        ConfigurationError: one of them has no `notify`, or an ``async`` one, which would never be
            awaited.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._failures: dict[tuple[int, type[Exception]], int] = {}
        for observer in self._observers:
            notify = getattr(observer, "notify", None)
            if not callable(notify) or iscoroutinefunction(notify):
                kind = type(observer).__name__
                raise ConfigurationError(f"observer {kind} needs a notify(event) that is not async")

    def attach(self, observer: Observer) -> Callable[[], None]:
        """Notify *observer* too, from now on until the returned function is called."""
        self._observers = (*self._observers, observer)

        def detach() -> None:
            # Others may have been attached since, and stay.
            self._observers = tuple(item for item in self._observers if item is not observer)

        return detach

    def notify(self, event: Event) -> None:
        """Notify every observer of *event*."""
        for observer in self._observers:
            try:
                observer.notify(event)
            except Exception as exc:
                self._add_failure(observer, exc, event)

    def flush(self, *, closing: bool = False) -> None:
        """Let the log report the counts that are due; all of them when the client is *closing*."""
        for observer in self._observers:
            if isinstance(observer, LoggingObserver):
                with suppress(Exception):  # the application's log handlers may fail
                    observer.flush(closing=closing)
        if closing:
            self._log_counts()

    def _add_failure(self, observer: Observer, exc: Exception, event: Event) -> None:
        key = (id(observer), type(exc))
        if key in self._failures or len(self._failures) < _MAX_FAILURES:
            self._failures[key] = self._failures.get(key, 0) + 1
            if self._failures[key] == 1:
                _log_failure(observer, exc, event)

    def _log_counts(self) -> None:
        names = {id(observer): type(observer).__name__ for observer in self._observers}
        failures, self._failures = self._failures, {}
        for (key, kind), count in failures.items():
            if count > 1:
                with suppress(Exception):
                    template = "observer %s failed %d times with %s since the client was opened"
                    logger.error(template, names[key], count, kind.__name__)


class _MessageHiddenError(Exception):
    """Replaces an exception in the log: its text may quote a customer, its traceback does not."""


def _log_failure(observer: Observer, exc: Exception, event: Event) -> None:
    kind = type(exc).__name__
    hidden = _MessageHiddenError(f"{kind}; its message may contain a customer's data")
    with suppress(Exception):  # the application's log handlers may fail too
        logger.error(
            "observer %s failed with %s on %s; delivery goes on; further failures of this kind are "
            "only counted",
            type(observer).__name__,
            kind,
            type(event).__name__,
            exc_info=(type(hidden), hidden, exc.__traceback__),
        )


# The log


_LOGGED_EVERY = 60.0
"""Seconds between two lines about the same kind of conversions."""

_COUNTED = (DeadLettered, Dropped, Contradicted)
"""Events of which there may be one for each conversion; a union would be made for each event."""

_MANY = 10
"""Contradictions that are logged one by one: each names both amounts."""

_MAX_REASONS = 100
"""Reasons that are counted separately; further ones are counted as other reasons."""


@attrs.define
class _Tally:
    """Conversions of the same kind since the last line about them.

    Attributes:
        since: when that line was written, seconds of the clock.
        reason: the reason as the first of them has it.
        count: how many there are.
        event_ids: the event ids of the first.
        lines: how many more of them have a line each, and are not counted.
    """

    since: float
    reason: str
    count: int = 0
    lines: int = 0
    event_ids: list[str] = attrs.field(factory=list)

    def add(self, event_ids: Sequence[str]) -> None:
        """Count *event_ids*."""
        self.count += len(event_ids)
        self.event_ids += event_ids[: MAX_IDS - len(self.event_ids)]


@attrs.frozen
class _Kind:
    """The properties that the conversions in one tally share.

    Attributes:
        event: the class of their events.
        destination: the destination that did not get them; "" for contradictions.
        code: the destination's error code.
        reason: the reason without its numbers; None for all reasons that have no tally, and for
            contradictions.
    """

    event: type[DeadLettered] | type[Dropped] | type[Contradicted]
    destination: str = ""
    code: str | None = None
    reason: str | None = None


class LoggingObserver:
    """Logs every event to the logger ``anytrack_async``; on by default.

    Of `Weakened` and `Skipped` it logs the first for each destination and kind. Of `DeadLettered`
    and `Dropped` it logs the first for each destination, error code and reason at once, and of
    `Contradicted` the first ten. Those that follow are counted, with one line a minute; closing the
    client writes the last line. Reasons that differ only in numbers and ids are the same: "given up
    after 8 attempts and 1.2 h: status 503" and "… and 1.3 h: status 503".

    Args:
        clock: returns seconds, and must not go back.
    """

    # 1,000 conversions that Meta rejects within ten seconds, then no more:
    #
    #    0 s   meta: sale:1 is now a dead letter: [2804003] the event is too old
    #   60 s   meta: 999 more dead letters in 60 s, e.g. sale:2: [2804003] the event is too old
    #  120 s   nothing was counted: the tally is removed

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._weakened: set[tuple[str | None, str]] = set()
        self._tallies: dict[_Kind, _Tally] = {}
        self._next_flush = 0.0

    def notify(self, event: Event, /) -> None:
        """Log *event* at its level, or count it."""
        if self._tallies:
            self.flush()
        if isinstance(event, _COUNTED):
            self._count(event)
            return
        if isinstance(event, BackPressureEnded):
            self._log_drops(event.destination)
        elif isinstance(event, Weakened | Skipped):
            kind = (event.destination, event.reason)
            if kind in self._weakened:
                return
            self._weakened.add(kind)
        _log(event)

    def flush(self, *, closing: bool = False) -> None:
        """Write a line for each count that is a minute old; when *closing*, for every count."""
        now = self._clock()
        if now < self._next_flush and not closing:
            return
        for kind, tally in [*self._tallies.items()]:
            if closing or now - tally.since >= _LOGGED_EVERY:
                _log_tally(kind, tally, now)
                del self._tallies[kind]
                if tally.count and not closing:
                    self._tallies[kind] = _Tally(now, tally.reason)
        oldest = min((tally.since for tally in self._tallies.values()), default=now)
        self._next_flush = oldest + _LOGGED_EVERY

    def _count(self, event: DeadLettered | Dropped | Contradicted) -> None:
        kind, reason, event_ids = _described(event)
        if kind not in self._tallies and len(self._tallies) >= _MAX_REASONS:
            kind = attrs.evolve(kind, code=None, reason=None)
        tally = self._tallies.get(kind)
        if tally is None:
            lines = _MANY - 1 if kind.event is Contradicted else 0
            self._tallies[kind] = _Tally(self._clock(), reason, lines=lines)
            _log(event)
        elif tally.lines:
            tally.lines -= 1
            _log(event)
        else:
            tally.add(event_ids)

    def _log_drops(self, destination: str) -> None:
        for kind in [*self._tallies]:
            if kind.event is Dropped and kind.destination == destination:
                _log_tally(kind, self._tallies.pop(kind), self._clock())


def _described(
    event: DeadLettered | Dropped | Contradicted,
) -> tuple[_Kind, str, Sequence[str]]:
    """Return the kind, the reason and the event ids of the conversions of *event*."""
    if isinstance(event, Contradicted):  # there may be one of each order: nothing tells them apart
        return _Kind(Contradicted), "", [event.contradiction.event_id]
    code: str | None = None
    if isinstance(event, DeadLettered):
        code, event_ids = event.code, [event.event_id]
    else:
        event_ids = [*event.event_ids]
    kind = _Kind(type(event), event.destination, code, _without_numbers(event.reason))
    return kind, event.reason, event_ids


def _log(event: Event) -> None:
    # Most events are DEBUG, one per batch: a line that is logged nowhere is not built.
    if logger.isEnabledFor(event.level):
        template, *arguments = event.log_line()
        logger.log(event.level, template, *arguments, extra=log_fields(event))


_PLAIN = (str, int, float)


def log_fields(event: Event) -> dict[str, object]:
    """Return the attributes that the log record of *event* has in addition to its message.

    For formatters that write JSON, and for filters. Of a `Retried`: ``anytrack_event="Retried"``,
    ``anytrack_destination="meta"``, ``anytrack_count=3``, ``anytrack_reason="status 503"``,
    ``anytrack_seconds=1.5``. Lists of event ids are left out, because they may be long.
    """
    fields: dict[str, object] = {"anytrack_event": type(event).__name__}
    for name, value in attrs.asdict(event, recurse=False).items():
        if isinstance(value, _PLAIN):
            fields[f"anytrack_{name}"] = value
        elif name == "event_ids":
            fields["anytrack_count"] = len(value)
        elif isinstance(value, Contradiction):
            fields["anytrack_event_id"] = value.event_id
    return fields


def _log_tally(kind: _Kind, tally: _Tally, now: float) -> None:
    if not tally.count:
        return
    reason = "other reasons" if kind.reason is None else tally.reason
    fields: dict[str, object] = {
        "anytrack_event": kind.event.__name__,
        "anytrack_count": tally.count,
    }
    template, *arguments = _tally_line(kind, tally, reason, now)
    if kind.event is not Contradicted:
        fields |= {
            "anytrack_destination": kind.destination,
            "anytrack_code": kind.code,
            "anytrack_reason": reason,
        }
    logger.log(kind.event.level, template, *arguments, extra=fields)


def _tally_line(kind: _Kind, tally: _Tally, reason: str, now: float) -> LogLine:
    ids = abbreviated(tally.event_ids, tally.count)
    seconds = now - tally.since
    if kind.event is Contradicted:
        template = (
            "%d more conversions came again with another type, amount or currency in %.0f s, the "
            "first ones are kept: %s"
        )
        return template, tally.count, seconds, ids
    if kind.event is Dropped:
        template = "%s: dropped %d undelivered conversions: %s: %s"
        return template, kind.destination, tally.count, reason, ids
    template = "%s: %d more dead letters in %.0f s, e.g. %s: %s"
    return template, kind.destination, tally.count, seconds, tally.event_ids[0], reason


# Numbers that vary from one conversion to the next: with a decimal point, of more than three
# digits, or in an id. "status 503" and "status 400" are different reasons; so are the codes 190 and
# 102.
_COMPARED = 300
"""Characters by which two reasons are compared: a long word takes a time of its length squared."""

_VARYING = re.compile(r"\d+[.:]\d[\d.:]*|[\w@+-]*\d{4,}[\w@+-]*|\w*(?:\d[^\W\d]|[^\W\d]\d)\w*")


def _without_numbers(reason: str) -> str:
    """Return *reason* with ``#`` for each number or id that varies between conversions."""
    return _VARYING.sub("#", reason[:_COMPARED])
