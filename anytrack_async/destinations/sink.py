"""What a destination needs: the `Sink` protocol, its limits, and its signals to the lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import attrs

from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.settings.environment import positive

OperatorCause: TypeAlias = Literal["credentials", "configuration"]
"""What an operator has to replace before a destination takes conversions again."""


def _at_once(_: float) -> float:
    return 0.0


@attrs.frozen(kw_only=True)
class SinkLimits:
    """What a sink can take.

    Attributes:
        batch: conversions in one `deliver` call.
        concurrency: `deliver` calls at once.
        rate: `deliver` calls a second, None for no limit.
        required_seconds: time that a `deliver` call may need, None if any time will do. A
            client whose lease is too short for it is refused.
        spacing: seconds since the last batch left → seconds that the next one should still wait, to
            be fuller, as things are. Not asked after a full batch, nor when closing.
    """

    batch: int = attrs.field(default=100, validator=positive)
    concurrency: int = attrs.field(default=4, validator=positive)
    rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    required_seconds: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(positive)
    )
    spacing: Callable[[float], float] = attrs.field(default=_at_once, eq=False, repr=False)


class Sink(Protocol):
    """Somewhere to send conversions.

    A sink may also have ``async def aclose(self) -> None``, which is called when the client closes,
    and an attribute ``notify``, which the client sets: it takes events for the client's observers.
    """

    @property
    def name(self) -> str:
        """The destination's name: a key for cursors and reports, unique within one outbox."""
        ...

    @property
    def limits(self) -> SinkLimits:
        """What the sink can take."""
        ...

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch*; one outcome per conversion, in its order. Must be safe to repeat.

        Raises:
            Throttled: the service asks to wait; the lane pauses until then.
            BatchRejected: one bad conversion spoils all; the lane halves the batch.
            NeedsOperator: the lane holds; nothing is given up.
            Unfinished: the time was up; what has no outcome yet is not to blame for that.
            Unavailable: the service is down; the lane probes until it answers. Any other
                exception counts as this one.
        """
        ...


class SinkSignal(Exception):  # noqa: N818 - these are signals to the lane, named in the design
    """What concerns a whole batch.

    Attributes:
        reason: for logs and reports; free of tokens and customers' data.
        code: the service's error code, if it gave one.
        outcomes: one per conversion where some were settled before the signal; None for those the
            signal is about. Empty: it is about all.
    """

    def __init__(
        self, reason: str, *, code: str | None = None, outcomes: Sequence[Outcome | None] = ()
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.outcomes = outcomes


class Throttled(SinkSignal):
    """The service asks to wait *after* seconds."""

    def __init__(
        self,
        reason: str,
        *,
        after: float,
        code: str | None = None,
        outcomes: Sequence[Outcome | None] = (),
    ) -> None:
        super().__init__(reason, code=code, outcomes=outcomes)
        self.after = after


class BatchRejected(SinkSignal):
    """At least one conversion of the batch is bad, and the service does not say which."""


class NeedsOperator(SinkSignal):
    """Nothing can be delivered until an operator replaces the credentials or the configuration.

    Attributes:
        cause: ``"credentials"``: the token, its permissions or the account are not accepted;
            ``"configuration"``: the service lacks what the settings name, such as a pipeline.
    """

    def __init__(
        self,
        reason: str,
        *,
        cause: OperatorCause = "credentials",
        code: str | None = None,
        outcomes: Sequence[Outcome | None] = (),
    ) -> None:
        super().__init__(reason, code=code, outcomes=outcomes)
        self.cause: OperatorCause = cause


class Unfinished(SinkSignal):
    """The batch was cut short: what has no outcome was not sent, and may be at once."""


class Unavailable(SinkSignal):
    """No response, or a response that says the service itself failed."""
