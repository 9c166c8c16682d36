"""What happens inside, told to observers: frozen event classes and the `Observer` protocol.

Events carry event ids, counts and a destination's reasons; never a token or a customer's data.
An observer runs on the event loop: it must return at once, and if it raises, it harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Protocol, TypeAlias

import attrs

from anytrack_async.errors import ConfigurationError

logger = logging.getLogger("anytrack_async")


@attrs.frozen(kw_only=True)
class Submitted:
    """The outbox has new conversions."""

    event_ids: Sequence[str]


@attrs.frozen(kw_only=True)
class Delivered:
    """A destination has some conversions; *seconds* is what the batch took."""

    destination: str
    event_ids: Sequence[str]
    seconds: float


@attrs.frozen(kw_only=True)
class Retried:
    """Some conversions go back to the outbox for at least *seconds*."""

    destination: str
    event_ids: Sequence[str]
    reason: str
    seconds: float


@attrs.frozen(kw_only=True)
class LaneThrottled:
    """A destination asked to wait; its lane pauses for *seconds*."""

    destination: str
    reason: str
    seconds: float


@attrs.frozen(kw_only=True)
class LaneDown:
    """A destination does not answer; its lane sends one probe at a time."""

    destination: str
    reason: str


@attrs.frozen(kw_only=True)
class LaneHeld:
    """A destination refuses the credentials; its lane holds until they are replaced."""

    destination: str
    reason: str


@attrs.frozen(kw_only=True)
class LaneResumed:
    """A lane that was held, down or throttled works again."""

    destination: str


@attrs.frozen(kw_only=True)
class DeadLettered:
    """A destination will never take a conversion, because of *reason*."""

    destination: str
    event_id: str
    reason: str
    code: str | None = None


@attrs.frozen(kw_only=True)
class Dropped:
    """Closing gave up conversions that only this process's memory held."""

    destination: str
    event_ids: Sequence[str]
    reason: str


@attrs.frozen(kw_only=True)
class Weakened:
    """A destination takes conversions, but will match some of them less well; told once a kind."""

    destination: str
    reason: str


Event: TypeAlias = (
    Submitted
    | Delivered
    | Retried
    | LaneThrottled
    | LaneDown
    | LaneHeld
    | LaneResumed
    | DeadLettered
    | Dropped
    | Weakened
)


class Observer(Protocol):
    """Somebody who wants to know what happens."""

    def notify(self, event: Event, /) -> None:
        """Take note of *event*, without blocking."""
        ...


class Observers:
    """Several observers as one; the failure of one touches no other.

    Raises:
        ConfigurationError: one of them has no `notify`, or an ``async`` one, which nobody awaits.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        for observer in self._observers:
            notify = getattr(observer, "notify", None)
            if not callable(notify) or iscoroutinefunction(notify):
                kind = type(observer).__name__
                raise ConfigurationError(f"observer {kind} needs a notify(event) that is not async")

    def notify(self, event: Event) -> None:
        """Tell everyone."""
        for observer in self._observers:
            try:
                observer.notify(event)
            except Exception as exc:  # an observer may be anybody's
                # The exception's text may quote a customer, its type does not.
                logger.error(
                    "observer %s failed with %s on %s; delivery goes on",
                    type(observer).__name__,
                    type(exc).__name__,
                    type(event).__name__,
                )


_NAMED = 20


def name_some(event_ids: Sequence[str]) -> str:
    """Return up to 20 of *event_ids* and how many more there are."""
    more = len(event_ids) - _NAMED
    return ", ".join(event_ids[:_NAMED]) + (f" and {more} more" if more > 0 else "")


class LoggingObserver:
    """Writes what an operator must know to the logger ``anytrack_async``; on by default."""

    def notify(self, event: Event, /) -> None:
        """Log *event* at the level that fits it."""
        level = _LEVELS[type(event)]
        if logger.isEnabledFor(level):
            message, args = _line(event)
            logger.log(level, message, *args)


_LEVELS: Mapping[type, int] = {
    Submitted: logging.DEBUG,
    Delivered: logging.DEBUG,
    Retried: logging.INFO,
    LaneThrottled: logging.WARNING,
    LaneDown: logging.WARNING,
    LaneHeld: logging.ERROR,
    LaneResumed: logging.INFO,
    DeadLettered: logging.ERROR,
    Dropped: logging.ERROR,
    Weakened: logging.WARNING,
}


def _line(event: Event) -> tuple[str, tuple[object, ...]]:
    match event:
        case Submitted(event_ids=ids):
            return "accepted %d", (len(ids),)
        case Delivered(destination=name, event_ids=ids, seconds=took):
            return "%s: delivered %d in %.3f s", (name, len(ids), took)
        case Retried(destination=name, event_ids=ids, reason=why, seconds=wait):
            return "%s: %d again in %.1f s: %s", (name, len(ids), wait, why)
        case LaneThrottled(destination=name, reason=why, seconds=wait):
            return "%s: throttled for %.0f s: %s", (name, wait, why)
        case LaneDown(destination=name, reason=why):
            return "%s: does not answer, probing: %s", (name, why)
        case LaneHeld(destination=name, reason=why):
            help_ = "%s: held, nothing is lost; replace the credentials and resume: %s"
            return help_, (name, why)
        case LaneResumed(destination=name):
            return "%s: works again", (name,)
        case DeadLettered(destination=name, event_id=event_id, reason=why):
            return "%s: %s is now a dead letter: %s", (name, event_id, why)
        case Dropped(destination=name, event_ids=ids, reason=why):
            return "%s: gave up %d: %s: %s", (name, len(ids), why, name_some(ids))
        case Weakened(destination=name, reason=what):
            return "%s: %s are matched less well (told once)", (name, what)
