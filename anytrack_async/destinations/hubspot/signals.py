"""From a `Problem` to what others act on: a lane's signal, an outcome, an error for the caller."""

from __future__ import annotations

from collections.abc import Mapping

from anytrack_async.destinations.hubspot.problem import Act, Problem
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    SinkSignal,
    Throttled,
    Unavailable,
)
from anytrack_async.errors import (
    CredentialsError,
    RateLimitedError,
    RejectedError,
    ServerError,
    ServiceError,
)
from anytrack_async.models.outcome import Outcome

SERVICE = "hubspot"


class Refused(Exception):  # noqa: N818 - not an error of the library, never leaves this package
    """HubSpot did not do what a request asked.

    Attributes:
        problem: what it said.
        content: the response's body.
    """

    def __init__(self, problem: Problem, content: bytes = b"") -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.content = content


def to_signal(problem: Problem) -> SinkSignal:
    """Return the signal for a batch that met *problem*."""
    reason, code = str(problem), problem.code
    match problem.act:
        case Act.WAIT:
            return Throttled(reason, after=problem.after or 0.0, code=code)
        case Act.HOLD:
            return NeedsOperator(reason, cause=problem.cause, code=code)
        case Act.REJECT | Act.EXISTS | Act.SPLIT:
            return BatchRejected(reason, code=code)
        case _:
            return Unavailable(reason, code=code)


def to_outcome(problem: Problem) -> Outcome:
    """Return the outcome of one conversion that met *problem*."""
    reason, code = str(problem), problem.code
    match problem.act:
        case Act.EXISTS:
            return Outcome.delivered(problem.remote_id)
        case Act.REJECT | Act.SPLIT:
            return Outcome.rejected(reason, code=code)
        case _:
            return Outcome.retry(reason, code=code, after=problem.after)


_ERRORS: Mapping[Act, type[ServiceError]] = {
    Act.HOLD: CredentialsError,
    Act.WAIT: RateLimitedError,
    Act.LATER: ServerError,
    Act.DOWN: ServerError,
}


def to_error(problem: Problem) -> ServiceError:
    """Return the error for a caller who asked for something himself and met *problem*."""
    return _ERRORS.get(problem.act, RejectedError)(
        f"{problem.message}; {problem.advice}" if problem.advice else problem.message,
        service=SERVICE,
        status=problem.status,
        code=problem.code,
        request_id=problem.request_id,
        retry_after=problem.after,
    )
