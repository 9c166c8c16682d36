"""Events for observers: one frozen class each, with its fields, its log level and its log line.

Events carry event ids, counts and a destination's reasons; never a token or a customer's data.
An observer runs on the event loop: it must return at once. If it raises, delivery goes on.

A new event needs a class below and its name in `__all__`, which the root package reads.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Protocol, TypeAlias

import attrs

from anytrack_async.descriptions import abbreviated
from anytrack_async.models.contradiction import Contradiction

__all__ = [
    "BackPressure",
    "BackPressureEnded",
    "Contradicted",
    "DeadLettered",
    "DeadLettersExpired",
    "Delivered",
    "Dropped",
    "Event",
    "LaneDown",
    "LaneHeld",
    "LaneResumed",
    "LaneThrottled",
    "Observer",
    "Retried",
    "Skipped",
    "Submitted",
    "UnusualConfirmation",
    "Weakened",
]

logger = logging.getLogger("anytrack_async")

OperatorCause: TypeAlias = Literal["credentials", "configuration", "outbox", "encryption"]
"""The part that an operator has to replace before a destination accepts conversions again."""

LogLine: TypeAlias = tuple[object, ...]
"""A %-template and its arguments, as `logging.Logger.log` takes them."""


@attrs.frozen(kw_only=True)
class Event(ABC):
    """Base of all events.

    Attributes:
        level: the level at which `LoggingObserver` logs it.
    """

    # ERROR: an operator has to act. WARNING: look if it lasts. INFO: normal. DEBUG: every batch.
    level: ClassVar[int] = logging.INFO

    @abstractmethod
    def log_line(self) -> LogLine:
        """Return the %-template of the log line, followed by its arguments."""


@attrs.frozen(kw_only=True)
class Submitted(Event):
    """New conversions were stored in the outbox."""

    level = logging.DEBUG
    event_ids: Sequence[str]

    def log_line(self) -> LogLine:
        """Return how many were accepted."""
        return "accepted %d conversions", len(self.event_ids)


@attrs.frozen(kw_only=True)
class Contradicted(Event):
    """A conversion came again with another type, amount or currency; the first one is kept.

    Attributes:
        contradiction: the event id, and type, amount and currency of both.
    """

    level = logging.WARNING
    contradiction: Contradiction

    def log_line(self) -> LogLine:
        """Return the event id and both amounts."""
        template = (
            "%s: the first one is kept, check what sent the second; if these are two conversions, "
            "each needs an event_id of its own"
        )
        return template, self.contradiction


@attrs.frozen(kw_only=True)
class Delivered(Event):
    """A destination accepted some conversions; *seconds* is how long the batch took."""

    level = logging.DEBUG
    destination: str
    event_ids: Sequence[str]
    seconds: float

    def log_line(self) -> LogLine:
        """Return how many were delivered, and how fast."""
        count = len(self.event_ids)
        return "%s: delivered %d conversions in %.3f s", self.destination, count, self.seconds


@attrs.frozen(kw_only=True)
class Retried(Event):
    """Some conversions go back to the outbox for at least *seconds*."""

    destination: str
    event_ids: Sequence[str]
    reason: str
    seconds: float

    def log_line(self) -> LogLine:
        """Return how many will be retried, when and why."""
        template = "%s: %d conversions will be retried in %.1f s: %s"
        return template, self.destination, len(self.event_ids), self.seconds, self.reason


@attrs.frozen(kw_only=True)
class LaneThrottled(Event):
    """A destination asked to wait; its lane pauses for *seconds*."""

    level = logging.WARNING
    destination: str
    reason: str
    seconds: float

    def log_line(self) -> LogLine:
        """Return for how long and why."""
        return "%s: throttled for %.0f s: %s", self.destination, self.seconds, self.reason


@attrs.frozen(kw_only=True)
class LaneDown(Event):
    """A destination is down: three batches in a row failed; its lane sends one probe at a time."""

    level = logging.WARNING
    destination: str
    reason: str

    def log_line(self) -> LogLine:
        """Return the last failure."""
        return "%s: down, probing: %s", self.destination, self.reason


REMEDIES: Mapping[OperatorCause, str] = {
    "credentials": "replace the credentials with client.use_token(%r, …), or restart with new ones",
    "configuration": (
        "correct the configuration, in the settings or at the destination, and call "
        "client.resume(%r)"
    ),
    "outbox": (
        "run `anytrack outbox verify`, repair or replace the outbox file, and call "
        "client.resume(%r)"
    ),
    "encryption": (
        "add the missing key to ANYTRACK_OUTBOX_KEYS and restart; `anytrack outbox keys` lists the "
        "ids of all keys that the file needs, and client.resume(%r) does not help before"
    ),
}
"""The cause of a held lane → a %-template that says what to do, for the destination's name."""


@attrs.frozen(kw_only=True)
class LaneHeld(Event):
    """A destination accepts nothing until an operator acts; the outbox keeps its conversions.

    Attributes:
        destination: the lane's destination.
        reason: the destination's explanation.
        cause: the part to replace: ``"credentials"``, ``"configuration"`` or, if its file is
            damaged, the ``"outbox"``. ``"encryption"`` if the program has not got a key that the
            outbox file is encrypted with: start it again with the key.
    """

    level = logging.ERROR
    destination: str
    reason: str
    cause: OperatorCause = "credentials"

    def log_line(self) -> LogLine:
        """Return the reason and what to do."""
        template = f"%s: held, nothing is lost: %s; {REMEDIES[self.cause]}"
        return template, self.destination, self.reason, self.destination


@attrs.frozen(kw_only=True)
class LaneResumed(Event):
    """A destination accepts conversions again after its lane was held, down or throttled."""

    destination: str

    def log_line(self) -> LogLine:
        """Return the destination of the lane."""
        return "%s: delivering again", self.destination


@attrs.frozen(kw_only=True)
class BackPressure(Event):
    """A destination is full: as many conversions, or bytes, wait for it as the outbox's capacity.

    Sent when the first caller finds no room; `BackPressureEnded` follows when there is room again.

    Attributes:
        destination: the full destination.
        waiting: how many conversions wait for it.
        waiting_bytes: how many bytes these take, if it is bytes that there is no room for.
        since: when it became full, unix seconds.
        state: the state of its lane, e.g. ``"held"``; ``"running"`` if it is only slow.
        reason: the destination's explanation of that state, if any.
        effect: the consequence for callers now.
        action: the remedy for an operator.
    """

    level = logging.WARNING
    destination: str
    waiting: int
    since: float
    state: str
    reason: str
    effect: str
    action: str
    waiting_bytes: int | None = None

    def log_line(self) -> LogLine:
        """Return what waits since when and why, what callers get and what to do."""
        since = time.strftime("%H:%M:%S UTC", time.gmtime(self.since))
        cause = f"{self.state}: {self.reason}" if self.reason else self.state
        size = "" if self.waiting_bytes is None else f" of {self.waiting_bytes:,} bytes"
        template = "%s: full since %s with %d conversions%s (%s), %s; %s"
        waiting = (self.destination, since, self.waiting, size)
        return template, *waiting, cause, self.effect, self.action


@attrs.frozen(kw_only=True)
class BackPressureEnded(Event):
    """A destination has room again after *seconds*, or the client closes; it lost *dropped*."""

    destination: str
    seconds: float
    dropped: int = 0

    def log_line(self) -> LogLine:
        """Return how long it was full, and how many conversions were dropped."""
        template = "%s: has room again after %.1f s, %d conversions were dropped"
        return template, self.destination, self.seconds, self.dropped


@attrs.frozen(kw_only=True)
class DeadLettered(Event):
    """A conversion became a dead letter: a destination rejected it, or its attempts or time ended.

    `LoggingObserver` logs those with the same destination, code and reason once a minute, with
    their number.

    Attributes:
        destination: the destination that did not get it.
        event_id: the conversion's event id.
        reason: the destination's explanation, or the last failure.
        code: the destination's error code.
    """

    level = logging.ERROR
    destination: str
    event_id: str
    reason: str
    code: str | None = None

    def log_line(self) -> LogLine:
        """Return the event id and the reason."""
        return "%s: %s is now a dead letter: %s", self.destination, self.event_id, self.reason


@attrs.frozen(kw_only=True)
class DeadLettersExpired(Event):
    """Dead letters were discarded, because they were older than `keep_dead_letters`.

    Attributes:
        destination: the destination that never gets these conversions.
        count: how many.
        kept_for: `DeliverySettings.keep_dead_letters`, seconds.
    """

    level = logging.WARNING
    destination: str
    count: int
    kept_for: float

    def log_line(self) -> LogLine:
        """Return how many were discarded."""
        template = "%s: discarded %d dead letters that were older than %.1f days"
        return template, self.destination, self.count, self.kept_for / 86_400


@attrs.frozen(kw_only=True)
class Dropped(Event):
    """A destination does not get some conversions.

    It was full and ``on_full="shed"``, or closing the client lost them because the outbox was only
    in memory, or they were the oldest of more dead letters than there is room for.
    `LoggingObserver` logs those with the same destination and reason once a minute, with their
    number.
    """

    level = logging.ERROR
    destination: str
    event_ids: Sequence[str]
    reason: str

    def log_line(self) -> LogLine:
        """Return how many, why, and the ids of the first."""
        template = "%s: dropped %d undelivered conversions: %s: %s"
        ids = self.event_ids
        return template, self.destination, len(ids), self.reason, abbreviated(ids)


@attrs.frozen(kw_only=True)
class Skipped(Event):
    """Some conversions are not sent to a destination, because of their visitors' consent.

    `LoggingObserver` logs the first of each reason; ``client.stats()`` has the numbers.

    Attributes:
        destination: the destination that does not get them.
        event_ids: their event ids.
        reason: the reason, e.g. ``"no consent: ad_user_data is denied"``.
    """

    destination: str
    event_ids: Sequence[str]
    reason: str

    def log_line(self) -> LogLine:
        """Return the reason."""
        template = "%s: skipped conversions: %s (logged once, counted in stats())"
        return template, self.destination, self.reason


@attrs.frozen(kw_only=True)
class Weakened(Event):
    """Some conversions of a batch are matched less well: a value is missing or unusable.

    `LoggingObserver` logs the first of each kind; ``client.stats()`` has the numbers.

    Attributes:
        destination: the destination that matches them less well; None for all of them, because the
            value was left out or cut when the conversion was made.
        reason: the kind, e.g. ``"private IP addresses"``; never the values.
        count: how many conversions.
    """

    level = logging.WARNING
    destination: str | None = None
    reason: str
    count: int = 1

    def log_line(self) -> LogLine:
        """Return the kind of conversions."""
        if self.destination is None:
            return "left out or cut: %s (logged once, counted in stats())", self.reason
        template = "%s: matched less well: %s (logged once, counted in stats())"
        return template, self.destination, self.reason


@attrs.frozen(kw_only=True)
class UnusualConfirmation(Event):
    """A destination confirms conversions in undocumented words; they are delivered; sent once.

    Attributes:
        destination: the destination's name.
        answer: a description of its first such answer.
    """

    level = logging.WARNING
    destination: str
    answer: str

    def log_line(self) -> LogLine:
        """Return the answer."""
        template = "%s: confirms in other words than documented, which counts as delivered: %s"
        return template + " (logged once)", self.destination, self.answer


class Observer(Protocol):
    """Receives the events of a client."""

    def notify(self, event: Event, /) -> None:
        """Take note of *event*, without blocking."""
