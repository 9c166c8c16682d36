"""`FlowControl`: whether, when and how much a lane may send. It decides; the lane sleeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, Self

from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.sink import SinkLimits
from anytrack_async.events import (
    Event,
    LaneDown,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    OperatorCause,
    logger,
)
from anytrack_async.settings.delivery import DeliverySettings, credible_wait
from anytrack_async.settings.http import Retry

_DOWN_AFTER = 3
"""Whole batches that must fail in a row, with no delivery between, for a service to be down."""


class LaneState(StrEnum):
    """The state of a lane."""

    RUNNING = "running"
    THROTTLED = "throttled"
    DOWN = "down"
    HELD = "held"
    PAUSED = "paused"


# How the states follow each other, with probe=Retry(base=0.5, cap=30) and hold_probe=300:
#
#   running    batches 1, 2 and 3 fail → down, LaneDown
#   down       the lane pauses for up to 0.5·2² = 2 s, sends one conversion (the probe); it fails,
#              the next pause is up to 4 s, then 8 s, 16 s, 30 s, 30 s, …; a probe is delivered
#              → running, LaneResumed
#   throttled  from running or down, after "wait 60 s": the lane pauses for 60 s, then sends full
#              batches; a delivered one → running, LaneResumed. After "wait 0 s", again and again:
#              it pauses for up to 0.5 s, 1 s, 2 s, 4 s, … 30 s
#   held       from any state, after "invalid token": one probe every 300 s; a probe is delivered
#              → running, LaneResumed
#   paused     from any state, by an operator: nothing is sent until the operator resumes it
#
# An operator's resume ends the pause but not the state: that ends with the first delivery.


class LaneCondition(NamedTuple):
    """The state of a lane, with its reason.

    Attributes:
        state: its state.
        reason: the destination's explanation of that state, if any.
        cause: the part that an operator has to replace, if it is held.
    """

    state: str
    reason: str = ""
    cause: OperatorCause | None = None


class FlowControl:
    """Whether, when and how much a lane may send.

    Args:
        destination: the destination's name, for events.
        probe: waits between the probes of a destination that is down, and the shortest waits after
            it throttled once, twice, … in a row.
        hint_cap: the longest pause that a destination may ask for, seconds; see `credible_wait`.
        hold_probe: seconds between the probes of a held lane.
        rate: requests per second, None for no limit.
        linger: seconds to wait for a fuller batch.
        spacing: seconds since the last batch → seconds to wait for a fuller one; the longer wait
            counts.
        clock: returns monotonic seconds.
        notify: called with an event for each change of state.

    Attributes:
        state: the lane's state.
        reason: the destination's explanation of that state; empty while the lane is running.
        cause: the part that an operator has to replace, while the lane is held.
        probing: whether to send one small batch at a time, until one is delivered.
        failures: whole batches that failed in a row.
        may_linger: whether `lingers_for` may be more than 0; False for most sinks.
        may_send_at: when the next batch may leave, by state and rate, in seconds of *clock*.
        generation: counts the holds, and the times at which an operator acted. A batch of an
            earlier one proves nothing about the present credentials.
    """

    def __init__(
        self,
        destination: str,
        *,
        probe: Retry,
        hint_cap: float,
        hold_probe: float,
        rate: float | None,
        linger: float,
        spacing: Callable[[float], float] | None,
        clock: Callable[[], float],
        notify: Callable[[Event], None],
    ) -> None:
        self.state = LaneState.RUNNING
        self.reason = ""
        self.cause: OperatorCause | None = None
        self.probing = False
        self.failures = 0
        self.may_send_at = 0.0
        self._destination = destination
        self._probe = probe
        self._hint_cap = hint_cap
        self._hold_probe = hold_probe
        self._interval = 1 / rate if rate else 0.0
        self._linger = linger
        self.may_linger = linger > 0 or spacing is not None
        self._spacing = spacing
        self._clock = clock
        self._notify = notify
        self._paused_until = 0.0
        self._rate_allows_at = 0.0
        self._last_send = 0.0
        self._entered_at = clock()
        self.generation = 0
        self._throttles = 0  # pauses in a row that the destination asked for
        self._is_retrying = False  # resumed by an operator, and neither delivered nor held since

    @classmethod
    def for_sink(
        cls,
        destination: str,
        limits: SinkLimits,
        settings: DeliverySettings,
        *,
        clock: Callable[[], float],
        notify: Callable[[Event], None],
    ) -> Self:
        """Return the flow control of the destination with this sink."""
        return cls(
            destination,
            probe=settings.probe,
            hint_cap=settings.retry.hint_cap,
            hold_probe=settings.hold_probe,
            rate=limits.rate,
            linger=settings.linger,
            spacing=limits.spacing,
            clock=clock,
            notify=notify,
        )

    @property
    def waits_for_operator(self) -> bool:
        """Whether the lane is held, and no operator has resumed it since."""
        return self.state is LaneState.HELD and not self._is_retrying

    # Waits
    @property
    def paused_for(self) -> float:
        """Seconds for which nothing may be sent; infinite while an operator has paused the lane."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def known_pause(self) -> float:
        """Seconds of the pause; 0 while an operator's pause has no known end."""
        return 0.0 if self.state is LaneState.PAUSED else self.paused_for

    @property
    def state_for(self) -> float:
        """Seconds since the lane entered its state."""
        return self._clock() - self._entered_at

    @property
    def rate_allows_in(self) -> float:
        """Seconds until the rate allows another request."""
        return max(0.0, self._rate_allows_at - self._clock())

    @property
    def lingers_for(self) -> float:
        """Seconds to wait for a fuller batch."""
        if self._spacing is None:
            return self._linger
        try:
            # E.g. a sink that wants partial batches 2 s apart returns 0.5 after 1.5 s.
            return max(self._linger, self._spacing(max(0.0, self._clock() - self._last_send)))
        except Exception as exc:
            self._spacing = None
            logger.error(
                "%s: the sink's spacing function failed; batches are sent without spacing: %s",
                self._destination,
                safe_description(exc),
            )
            return self._linger

    # State changes
    def record_send(self) -> int:
        """Record that a request is sent; return the generation, to pass back with its result."""
        self._last_send = self._clock()
        if self._interval:
            # With rate=10, requests at 0.00, 0.01 and 0.35 s move the next one to 0.1, 0.2, 0.45.
            self._rate_allows_at = max(self._rate_allows_at, self._last_send) + self._interval
            self.may_send_at = max(self._paused_until, self._rate_allows_at)
        return self.generation

    def record_success(self, generation: int, *, delivered: bool) -> None:
        """Record that the destination delivered or rejected a batch.

        Args:
            generation: the batch's. A batch sent before the lane was held proves nothing about
                credentials that were replaced since.
            delivered: whether anything was delivered. The sink may reject a conversion without a
                request, so a rejection does not prove that the credentials are good.
        """
        if self.state is LaneState.HELD and (generation < self.generation or not delivered):
            return
        if self.state is LaneState.PAUSED:
            return  # a batch that was in flight when an operator paused the lane
        self.failures = 0
        if self.state is LaneState.THROTTLED and self.paused_for:
            return  # the response to an earlier request does not end the pause
        self._throttles = 0
        if self.state is not LaneState.RUNNING:
            self._enter(LaneState.RUNNING, "")
            self._end_pause()
            self._notify(LaneResumed(destination=self._destination))

    def resume(self) -> None:
        """Let the lane send at once, whatever paused it.

        The state stays until a conversion is delivered, so that observers are not told that the
        destination works again before it does. A lane that was down or held sends one conversion
        first.
        """
        self.failures = self._throttles = 0
        if self.state is LaneState.PAUSED:
            self._enter(LaneState.RUNNING, "")
            self._end_pause()
        elif self.state is not LaneState.RUNNING:
            self._end_pause()
            self._is_retrying = True

    def pause(self, reason: str) -> None:
        """Send nothing until `resume`; a batch in flight is still settled.

        Args:
            reason: why the lane is paused, for the operator.
        """
        self.failures = self._throttles = 0
        self._enter(LaneState.PAUSED, reason)
        self._pause(math.inf)

    def replace_credentials(self) -> None:
        """Ignore later refusals of requests that were sent before, with the old credentials.

        If the lane is held, let it send at once.
        """
        if self.state is LaneState.HELD:
            self.resume()
        else:
            self.generation += 1

    def record_failure(self, reason: str) -> None:
        """Record that a whole batch failed."""
        self.failures += 1
        if self.state is LaneState.PAUSED:
            return
        if not self.probing and self.failures >= _DOWN_AFTER:
            self._enter(LaneState.DOWN, reason)
            self._notify(LaneDown(destination=self._destination, reason=reason))
        if self.probing:
            self._pause(self._probe.wait_after(self.failures))

    def throttle(self, reason: str, seconds: float, *, delivered: bool = False) -> None:
        """Pause as the destination asked; since it responds, it is not down.

        Args:
            reason: the destination's explanation.
            seconds: how long it asked to wait. The pause is longer where that is less than the
                backoff, which grows while nothing is delivered between two pauses.
            delivered: whether a part of the batch was delivered before.
        """
        requested = credible_wait(seconds, hint_cap=self._hint_cap, hold_probe=self._hold_probe)
        seconds = max(requested, self._throttle_backoff(delivered))
        self.failures = 0
        if self.state in (LaneState.RUNNING, LaneState.DOWN):
            self._enter(LaneState.THROTTLED, reason)
            self._notify(
                LaneThrottled(destination=self._destination, reason=reason, seconds=seconds)
            )
        self._pause(seconds)

    def hold(self, reason: str, cause: OperatorCause, generation: int) -> None:
        """Hold the lane until an operator has replaced the credentials or the configuration.

        Args:
            reason: the destination's explanation.
            cause: the part that has to be replaced; see `LaneHeld`.
            generation: the generation of the refused batch.
        """
        # A batch of generation 0 is refused and the lane is held, as generation 1; the operator
        # resumes it, as generation 2. If another batch of generation 0 is refused only now, that
        # says nothing about the new credentials.
        if generation < self.generation or self.state is LaneState.PAUSED:
            return
        if not self.waits_for_operator:
            # Also if the state is held already: the operator has to know that it was in vain.
            self._enter(LaneState.HELD, reason, cause)
            self.generation += 1
            self._notify(LaneHeld(destination=self._destination, reason=reason, cause=cause))
        self._pause(self._hold_probe)

    def _throttle_backoff(self, delivered: bool) -> float:
        # Six requests are in flight when the destination begins to throttle: the first response
        # pauses the lane, and the other five, which arrive during the pause, make it no longer.
        if self.paused_for:
            return 0.0
        self._throttles = 1 if delivered else self._throttles + 1
        return self._probe.wait_after(self._throttles)

    def _enter(self, state: LaneState, reason: str, cause: OperatorCause | None = None) -> None:
        self.state, self.reason, self.cause = state, reason, cause
        self._entered_at = self._clock()
        self.probing = state in (LaneState.DOWN, LaneState.HELD)
        self._is_retrying = False

    def _end_pause(self) -> None:
        self._paused_until, self.may_send_at = 0.0, self._rate_allows_at
        self.generation += 1

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        self.may_send_at = max(self._paused_until, self._rate_allows_at)
