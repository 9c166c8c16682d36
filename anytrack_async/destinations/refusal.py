"""`noting_status`: every reader of responses reports their HTTP status in the same way."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import attrs

from anytrack_async.destinations.sink import SinkSignal
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.transport.message import Response

_P = ParamSpec("_P")


def noting_status(
    read: Callable[Concatenate[Response, _P], Outcome],
) -> Callable[Concatenate[Response, _P], Outcome]:
    """Return *read* with the status of the response in the signals that it raises and the outcomes
    that it returns, except delivered ones, of which there is one object for all.
    """

    @wraps(read)
    def read_with_status(response: Response, /, *args: _P.args, **options: _P.kwargs) -> Outcome:
        try:
            outcome = read(response, *args, **options)
        except SinkSignal as signal:
            signal.http_status = response.status
            raise
        if outcome.status is Status.DELIVERED:
            return outcome
        return attrs.evolve(outcome, http_status=response.status)

    return read_with_status
