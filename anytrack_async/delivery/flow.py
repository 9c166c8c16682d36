"""`Gate`: whether a lane may send now. Decides; the lane sleeps."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Self

from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.errors import safe_description
from anytrack_async.events import (
    Event,
    LaneDown,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    OperatorCause,
    logger,
)
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import Retry

_DOWN_AFTER = 3
"""Whole batches that must fail in a row, with none delivered between, to call a service down."""


class LaneState(StrEnum):
    """How a lane is."""

    RUNNING = "running"
    THROTTLED = "throttled"
    DOWN = "down"
    HELD = "held"


class Gate:
    """Whether, when and how much a lane may send.

    Args:
        destination: for the events.
        probe: waits between the probes of a destination that is down.
        hint_cap: the longest pause a destination may ask for, seconds.
        hold_probe: seconds between the probes of a destination that refused the credentials.
        rate: requests a second, None for no limit.
        spacing: seconds since the last batch → seconds to wait for a fuller one.
        clock: unix seconds.
        notify: is told each change once.
    """

    def __init__(
        self,
        destination: str,
        *,
        probe: Retry,
        hint_cap: float,
        hold_probe: float,
        rate: float | None,
        spacing: Callable[[float], float],
        clock: Callable[[], float],
        notify: Callable[[Event], None],
    ) -> None:
        self.state = LaneState.RUNNING
        self._destination = destination
        self._probe = probe
        self._hint_cap = hint_cap
        self._hold_probe = hold_probe
        self._pace = 1 / rate if rate else 0.0
        self._spacing: Callable[[float], float] | None = spacing
        self._clock = clock
        self._notify = notify
        self._failures = 0
        self._opens = 0.0
        self._paced = 0.0
        self._sent = 0.0
        self._era = 0

    @classmethod
    def to(
        cls,
        destination: str,
        limits: SinkLimits,
        settings: DeliverySettings,
        *,
        clock: Callable[[], float],
        notify: Callable[[Event], None],
    ) -> Self:
        """Return the gate to a destination whose sink has *limits*."""
        return cls(
            destination,
            probe=settings.probe,
            hint_cap=settings.retry.hint_cap,
            hold_probe=settings.hold_probe,
            rate=limits.rate,
            spacing=limits.spacing,
            clock=clock,
            notify=notify,
        )

    @property
    def opens_in(self) -> float:
        """Seconds until the next batch may go; 0 for now."""
        return max(self.stopped_for, self.paced_for)

    @property
    def stopped_for(self) -> float:
        """Seconds for which nothing may be sent, as the destination is in trouble."""
        return max(0.0, self._opens - self._clock())

    @property
    def paced_for(self) -> float:
        """Seconds until the rate allows another request."""
        return max(0.0, self._paced - self._clock())

    @property
    def spaced_for(self) -> float:
        """Seconds for which the sink would rather wait for a fuller batch."""
        if self._spacing is None:
            return 0.0
        try:
            return max(0.0, self._spacing(max(0.0, self._clock() - self._sent)))
        except Exception as exc:  # a sink may be anybody's
            self._spacing = None
            logger.error(
                "%s: its spacing failed, batches go at once: %s",
                self._destination,
                safe_description(exc),
            )
            return 0.0

    @property
    def probing(self) -> bool:
        """Whether to send one small batch at a time, until one is delivered."""
        return self.state in (LaneState.DOWN, LaneState.HELD)

    @property
    def failing(self) -> bool:
        """Whether the last whole batch failed."""
        return self._failures > 0

    def sent(self) -> int:
        """Take note that a request leaves; return a mark to give back with its answer."""
        self._sent = self._clock()
        if self._pace:
            self._paced = max(self._paced, self._sent) + self._pace
        return self._era

    def succeed(self, mark: int, *, delivered: bool) -> None:
        """Take note that the destination took or judged a batch.

        Args:
            mark: of the batch. What was sent before the credentials were refused proves nothing.
            delivered: whether it took anything. A conversion that is refused may have been so
                by the sink itself, which does not prove the credentials good.
        """
        if self.state is LaneState.HELD and (mark < self._era or not delivered):
            return
        self._failures = 0
        if self.state is LaneState.THROTTLED and self.stopped_for:
            return  # an answer to an earlier request does not end the pause
        self.reopen()

    def reopen(self) -> None:
        """Let the lane run, whatever stopped it."""
        self._failures = 0
        if self.state is not LaneState.RUNNING:
            self.state, self._opens = LaneState.RUNNING, 0.0
            self._era += 1
            self._notify(LaneResumed(destination=self._destination))

    def fail(self, reason: str) -> None:
        """Take note that a whole batch failed."""
        self._failures += 1
        if not self.probing and self._failures >= _DOWN_AFTER:
            self.state = LaneState.DOWN
            self._notify(LaneDown(destination=self._destination, reason=reason))
        if self.probing:
            self._close_for(self._probe.wait(self._failures))

    def throttle(self, reason: str, seconds: float) -> None:
        """Pause for *seconds*, as the destination asked; whoever asks is not down."""
        seconds = min(max(0.0, seconds), self._hint_cap)
        self._failures = 0
        if self.state in (LaneState.RUNNING, LaneState.DOWN):
            self.state = LaneState.THROTTLED
            self._notify(
                LaneThrottled(destination=self._destination, reason=reason, seconds=seconds)
            )
        self._close_for(seconds)

    def hold(self, reason: str, cause: OperatorCause, mark: int) -> None:
        """Stop because the batch with *mark* cannot be taken before an operator acts."""
        if self.state is not LaneState.HELD:
            if mark < self._era:
                return  # it left before they were replaced
            self.state = LaneState.HELD
            self._era += 1
            self._notify(LaneHeld(destination=self._destination, reason=reason, cause=cause))
        self._close_for(self._hold_probe)

    def _close_for(self, seconds: float) -> None:
        self._opens = max(self._opens, self._clock() + seconds)
