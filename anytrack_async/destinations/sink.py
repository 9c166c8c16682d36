"""What a destination needs: the `Sink` protocol, its limits, and its signals to the lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import attrs

from anytrack_async.events import Observer, OperatorCause
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.settings.fields import positive
from anytrack_async.transport.message import Transport


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
            be fuller. None: it need not wait. Not asked after a full batch, nor when closing.
    """

    batch: int = attrs.field(default=100, validator=positive)
    concurrency: int = attrs.field(default=4, validator=positive)
    rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    required_seconds: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(positive)
    )
    spacing: Callable[[float], float] | None = attrs.field(default=None, eq=False, repr=False)


class Sink(Protocol):
    """Somewhere to send conversions.

    Three parts are optional: ``async def aclose(self) -> None``, which is called when the client
    closes; events of its own, see `SupportsObserver`; and what `anytrack check` and `anytrack
    setup` ask for, see `SupportsCheck` and `SupportsSetup`.
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


class ConfiguredSink(Sink, Protocol):
    """A sink that environment variables can configure: what a destination registers.

    Attributes:
        variables: the environment variables it reads. Each starts with the destination's name in
            capitals, e.g. ``PIGEON_`` for ``pigeon``.
    """

    variables: ClassVar[Sequence[str]]

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return the sink that *environ* configures, None if it configures none.

        Args:
            environ: instead of the process's environment.
            transport: instead of the sink's own connections, for tests.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        ...


@runtime_checkable
class SupportsObserver(Protocol):
    """A sink that reports events of its own, such as `Weakened`."""

    def set_observer(self, observer: Observer, /) -> None:
        """Report to *observer* from now on; a client passes one that stands for all of its own."""
        ...


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that a check looked at.

    Attributes:
        name: ``"token"``, ``"scopes: deals"``, ``"property anytrack_source"``, ``"stages"``, ….
        ok: whether conversions can be delivered with it.
        message: what was found, and if not `ok`, what to do.
        setup: whether `SupportsSetup.setup` puts it right.
    """

    name: str
    ok: bool
    message: str
    setup: bool = False


@runtime_checkable
class SupportsCheck(Protocol):
    """A sink that can find out whether deliveries will work."""

    async def check(self, *, currencies: Iterable[str] = ()) -> Sequence[Finding]:
        """Return what was found; deliver nothing that counts.

        Args:
            currencies: ISO 4217 codes that conversions will have.
        """
        ...


@attrs.frozen(kw_only=True)
class SetupStep:
    """One thing that setup does.

    Attributes:
        action: ``"create"`` (a dry run would), ``"created"``, ``"exists"``, or ``"refused"``:
            something else has the name.
        kind: what is created, e.g. ``"property"``.
        name: its name at the service.
        reason: why it is refused.
    """

    action: Literal["create", "created", "exists", "refused"]
    kind: str
    name: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.name}" + (
            f": {self.reason}" if self.reason else ""
        )


@runtime_checkable
class SupportsSetup(Protocol):
    """A sink whose service must be prepared once."""

    async def setup(self, *, dry_run: bool = False) -> Sequence[SetupStep]:
        """Create what is missing; leave what exists as it is.

        Args:
            dry_run: only return the steps.
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
