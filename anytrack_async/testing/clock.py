"""`ManualClock`: a clock that a test moves."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class ManualClock:
    """A clock that stands still until it is moved.

    Args:
        now: unix seconds; default: the present time.

    Attributes:
        now: unix seconds.
    """

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        """Return unix seconds."""
        return self.now

    @property
    def time(self) -> datetime:
        """The present time of the clock, aware, in UTC."""
        return datetime.fromtimestamp(self.now, UTC)

    def advance(self, seconds: float = 0.0, *, days: float = 0.0) -> None:
        """Move the clock forward.

        Raises:
            ValueError: it would go back.
        """
        step = seconds + 86_400 * days
        if step < 0:
            raise ValueError(f"a clock cannot go back: {step:g} s")
        self.now += step
