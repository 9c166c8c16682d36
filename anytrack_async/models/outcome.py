"""Results of a delivery: `Outcome` at one destination, `Report` of all, `Receipt` of AnyTrack."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self, cast

import attrs

from anytrack_async.descriptions import safe_repr, shown
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.frozen import mutable_twin


class Status(StrEnum):
    """State of a conversion at one destination.

    A sink returns one of the first three, or `SKIPPED`. The others come from the outbox, for
    reports.
    """

    DELIVERED = "delivered"
    """The destination accepted the conversion."""
    RETRY = "retry"
    """The destination cannot accept the conversion now: send it again later."""
    REJECTED = "rejected"
    """The destination will never accept the conversion."""
    WAITING = "waiting"
    """In the outbox: not sent yet, or waiting for another attempt."""
    DEAD = "dead"
    """In the dead letters, with the reason."""
    DROPPED = "dropped"
    """Not accepted for this destination, which was full; only with ``on_full="shed"``."""
    DISCARDED = "discarded"
    """Was a dead letter, and was given up for good, by an operator or by retention."""
    SKIPPED = "skipped"
    """Not sent to this destination, because of the visitor's consent; see `ConsentRule`."""


SKIPPED_CODE = "skipped"
"""The code of a discarded dead letter that stands for a skipped conversion: see `given_up`."""


def given_up(code: str | None) -> Status:
    """Return the status of a discarded dead letter with *code*.

    An outbox has no place of its own for a skipped conversion: its lane settles it as a dead letter
    with this code, and discards it at once.
    """
    return Status.SKIPPED if code == SKIPPED_CODE else Status.DISCARDED


def not_retried(code: str | None) -> Status:
    """Return the status of a conversion that failed for good, by the code of its failure.

    One that a destination skipped is discarded right after it was settled; it was no dead letter
    in between either.
    """
    return Status.SKIPPED if code == SKIPPED_CODE else Status.DEAD


_MAX_REASON = 2_000  # characters
_MAX_CODE = 100
_UNSTORABLE = {0: "\N{REPLACEMENT CHARACTER}"}  # NUL, which PostgreSQL cannot store


def reason_text(reason: object, longest: int = _MAX_REASON) -> str:
    """Return the reason that a sink gave, as text that every outbox and every log can take.

    It is cut to *longest* characters, and halves of surrogate pairs are replaced. A sink may pass
    a whole response on, or something that is not text.
    """
    if not isinstance(reason, str):
        reason = shown(reason)
    if len(reason) > longest:
        reason = reason[: longest - 1] + "…"
    return reason.encode(errors="replace").decode().translate(_UNSTORABLE)


def code_text(code: object) -> str | None:
    """Return the error code that a sink gave in the same way; None if there is none."""
    return None if code is None else reason_text(code, _MAX_CODE)


@attrs.frozen(kw_only=True)
class Outcome:
    """The result for one conversion at one destination.

    A sink returns `delivered`, `retry`, `rejected` or `skipped`; the lane fills in destination and
    attempts.

    Attributes:
        status: the state of the conversion at the destination.
        destination: the destination's name; empty until the lane fills it in.
        remote_id: the destination's id for the conversion, if the destination returns an id. An
            outbox keeps it as long as the event id.
        attempts: how often delivery was tried.
        error: why the conversion was not delivered, in the destination's own words where known.
        code: the destination's error code.
        retry_after: seconds the destination asked to wait; the lane waits for its backoff at least.
        http_status: the status of the destination's response to this attempt, from 100 to 599; None
            without a response, and in reports, see `PastAttempt`.
    """

    status: Status
    destination: str = attrs.field(default="", repr=safe_repr)
    remote_id: str | None = attrs.field(default=None, repr=safe_repr)
    attempts: int = attrs.field(default=1, repr=safe_repr)
    error: str | None = attrs.field(default=None, repr=safe_repr)
    code: str | None = attrs.field(default=None, repr=safe_repr)
    retry_after: float | None = attrs.field(default=None, repr=safe_repr)
    http_status: int | None = attrs.field(default=None, eq=False, repr=safe_repr)

    @classmethod
    def delivered(cls, remote_id: str | None = None) -> Self:
        """Return a sink's outcome: the destination accepted the conversion."""
        return cls(status=Status.DELIVERED, remote_id=remote_id)

    @classmethod
    def retry(
        cls,
        error: str,
        *,
        code: str | None = None,
        after: float | None = None,
        http_status: int | None = None,
    ) -> Self:
        """Return a sink's outcome: retry the conversion, not before *after* seconds."""
        return cls(
            status=Status.RETRY,
            error=error,
            code=code,
            retry_after=after,
            http_status=http_status,
        )

    @classmethod
    def rejected(
        cls, error: str, *, code: str | None = None, http_status: int | None = None
    ) -> Self:
        """Return a sink's outcome: the destination will never accept it, because of *error*."""
        return cls(status=Status.REJECTED, error=error, code=code, http_status=http_status)

    @classmethod
    def skipped(cls, reason: str) -> Self:
        """Return a sink's outcome: the conversion is not for this destination, because of *reason*.

        It is not sent, and counts as neither delivered nor failed.
        """
        return cls(status=Status.SKIPPED, error=reason, code=SKIPPED_CODE)

    @property
    def final(self) -> bool:
        """Whether nothing more will happen without an operator."""
        return self.status not in (Status.WAITING, Status.RETRY)


DELIVERED = Outcome.delivered()
"""One shared outcome for destinations that give no id: no object for each conversion."""

_MUTABLE_OUTCOME = mutable_twin(Outcome)


def delivered_as(remote_id: str | None) -> Outcome:
    """Return `Outcome.delivered` with *remote_id*, in a third of the time.

    A destination that gives ids needs one for each conversion.
    """
    if remote_id is None:
        return DELIVERED
    # Made as `fast_init` makes models: by assignments, in a class that allows them.
    outcome: Any = object.__new__(_MUTABLE_OUTCOME)
    outcome.status = Status.DELIVERED
    outcome.remote_id = remote_id
    outcome.destination, outcome.attempts = "", 1
    outcome.error = outcome.code = outcome.retry_after = outcome.http_status = None
    outcome.__class__ = Outcome
    return cast("Outcome", outcome)


@attrs.frozen(kw_only=True)
class Report:
    """The results for one conversion at all of its destinations.

    Attributes:
        event_id: the conversion's key.
        outcomes: destination's name → outcome.
        contradicts: set if the conversion came again with another type, amount or currency; the
            outcomes are those of the first one, which is kept.
    """

    event_id: str
    outcomes: Mapping[str, Outcome] = attrs.field(hash=False)
    contradicts: Contradiction | None = None

    @property
    def final(self) -> bool:
        """Whether the outcome at every destination is final."""
        return all(outcome.final for outcome in self.outcomes.values())

    @property
    def delivered(self) -> bool:
        """Whether every destination accepted the conversion."""
        return all(outcome.status is Status.DELIVERED for outcome in self.outcomes.values())


@attrs.frozen(kw_only=True)
class Receipt:
    """AnyTrack's confirmation of one conversion.

    Attributes:
        event_id: the conversion's key: to look up its report, or to submit it again safely.
        conversion_id: AnyTrack's id, also for a repeat and for a conversion that an earlier run or
            another process delivered; None if AnyTrack gave none, or the outbox keeps no ids of
            destinations, see `KeepsRemoteIds`.
        attempts: how often the conversion was sent.
        skipped: whether AnyTrack does not get it, because of the visitor's consent.
    """

    event_id: str
    conversion_id: str | None = None
    attempts: int = 1
    skipped: bool = False
