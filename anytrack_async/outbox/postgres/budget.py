"""The room of an outbox in PostgreSQL, without counting waiting conversions in each append.

Counting takes longer than appending. So the counted room is a budget: each call takes from it, and
the room is counted again once half of the budget is used, or after some seconds, because other
processes append too. Together, the processes may exceed the capacity by the conversions that they
append at the same moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from time import monotonic

COUNTED_FOR = 5.0
"""Seconds after which waiting conversions are counted again."""


class Budget:
    """How many more conversions may wait for each destination, as far as this process knows."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._room: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        self._counted_at = -inf
        self._postponed_until = 0.0

    def forget(self) -> None:
        """Let the next append count the waiting conversions first."""
        self._counted_at = -inf

    def count(self, waiting: Mapping[str, int]) -> None:
        """Start a budget from *waiting*: destination → waiting conversions; "" if none is known."""
        self._room = {name: self._capacity - count for name, count in waiting.items()}
        self._counted = dict(self._room)
        self._counted_at = monotonic()

    def postpone(self) -> None:
        """Do without a count for some seconds, as none can be had now."""
        self._postponed_until = monotonic() + COUNTED_FOR

    def covers(self, recipients: Sequence[str] | None, count: int) -> bool:
        """Return whether *count* more fit without counting again.

        With room for 1,000 that was counted, and 600 left: 100 fit, as 500 are half of 1,000.
        """
        if monotonic() < self._postponed_until:
            return True
        if not self._room or monotonic() - self._counted_at >= COUNTED_FOR:
            return False
        return all(
            2 * (room - count) >= self._counted[name] for name, room in self._addressed(recipients)
        )

    def take(self, recipients: Sequence[str] | None, count: int) -> None:
        """Take room for *count* conversions for *recipients*; None for all."""
        for name, room in self._addressed(recipients):
            self._room[name] = room - count

    def room(self, recipients: Sequence[str] | None) -> int | None:
        """Return how many more fit at each of *recipients*; None if no limit is known."""
        if self._counted_at == -inf:
            return None
        return min((max(0, room) for _, room in self._addressed(recipients)), default=None)

    def full(self, recipients: Sequence[str] | None, added: int) -> dict[str, int]:
        """Return destination → waiting conversions, of those without room for *added* more.

        Or of all, if room was made between the refusal of a call and this one.
        """
        rooms = self._addressed(recipients)
        full = [(name, room) for name, room in rooms if room < added]
        return {name: self._capacity - room for name, room in full or rooms}

    def _addressed(self, recipients: Sequence[str] | None) -> Sequence[tuple[str, int]]:
        return [
            (name, room)
            for name, room in self._room.items()
            if not name or recipients is None or name in recipients
        ]
