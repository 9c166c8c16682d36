"""What became of a conversion: `Outcome` at one destination, `Report` of all, `Receipt`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import attrs


class Status(StrEnum):
    """How a conversion stands with a destination."""

    DELIVERED = "delivered"
    """The destination has it."""
    RETRY = "retry"
    """A sink's answer: not now, try again."""
    REJECTED = "rejected"
    """A sink's answer: never."""
    WAITING = "waiting"
    """It is in the outbox: not sent yet, or due for another attempt."""
    DEAD = "dead"
    """It lies in the dead letters with the reason."""
    CONFLICT = "conflict"
    """Not accepted: its event id belongs to an earlier conversion with other content."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What happened to one conversion at one destination.

    A sink answers `delivered`, `retry` or `rejected`; the lane fills in destination and attempts.

    Attributes:
        status: how it stands.
        destination: where; empty while the sink has not handed it on.
        remote_id: the destination's id for it, where it gives one.
        attempts: how often it was sent or tried.
        error: why not, in the destination's own words where it said some.
        code: the destination's error code.
        retry_after: seconds the destination asked to wait.
    """

    status: Status
    destination: str = ""
    remote_id: str | None = None
    attempts: int = 1
    error: str | None = None
    code: str | None = None
    retry_after: float | None = None

    @classmethod
    def delivered(cls, remote_id: str | None = None) -> Self:
        """Return a sink's answer: the destination has it."""
        return cls(status=Status.DELIVERED, remote_id=remote_id)

    @classmethod
    def retry(cls, error: str, *, code: str | None = None, after: float | None = None) -> Self:
        """Return a sink's answer: try again, not before *after* seconds."""
        return cls(status=Status.RETRY, error=error, code=code, retry_after=after)

    @classmethod
    def rejected(cls, error: str, *, code: str | None = None) -> Self:
        """Return a sink's answer: this conversion will never be taken, because of *error*."""
        return cls(status=Status.REJECTED, error=error, code=code)

    @property
    def final(self) -> bool:
        """Whether nothing more will happen without an operator."""
        return self.status not in (Status.WAITING, Status.RETRY)


DELIVERED = Outcome.delivered()
"""One shared answer for destinations that give no id."""


@attrs.frozen(kw_only=True)
class Report:
    """What happened to one conversion everywhere.

    Attributes:
        event_id: which conversion.
        outcomes: destination → outcome.
    """

    event_id: str
    outcomes: Mapping[str, Outcome] = attrs.field(hash=False)

    @property
    def final(self) -> bool:
        """Whether every destination has it, or never will."""
        return all(outcome.final for outcome in self.outcomes.values())

    @property
    def delivered(self) -> bool:
        """Whether every destination has it."""
        return all(outcome.status is Status.DELIVERED for outcome in self.outcomes.values())


@attrs.frozen(kw_only=True)
class Receipt:
    """AnyTrack's confirmation of one conversion.

    Attributes:
        event_id: the conversion's key; use it to look it up or to submit it again safely.
        conversion_id: AnyTrack's id; None where an earlier run or another process delivered it.
        attempts: how often it was sent.
    """

    event_id: str
    conversion_id: str | None = None
    attempts: int = 1
