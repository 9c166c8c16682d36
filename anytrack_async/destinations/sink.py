"""The contract of a destination: the `Sink` protocol, its limits, optional parts and signals.

A sink turns batches of conversions into requests. It depends neither on the lane that calls it nor
on the outbox: it returns one outcome per conversion, or raises a signal about the whole batch, and
the lane decides what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import attrs

from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError, InvalidDestinationError
from anytrack_async.events import Observer, OperatorCause
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, code_text, reason_text
from anytrack_async.settings.fields import positive
from anytrack_async.transport.message import Transport


@attrs.frozen(kw_only=True)
class SinkLimits:
    """Limits that a lane obeys when it calls a sink.

    Attributes:
        batch: maximum number of conversions in one `deliver` call.
        concurrency: maximum number of `deliver` calls at once.
        rate: maximum number of `deliver` calls per second; None for no limit.
        required_seconds: time that one `deliver` call may need, so that a client rejects a lease
            that is too short; None if the call adapts to any lease.
        spacing: a function from the seconds since the last batch was sent to the seconds to wait
            before the next batch, so that it becomes fuller. None for no wait. Not called after a
            full batch or while closing.
        max_age: how old a conversion may be when it is sent, in seconds; None for any age. Lanes
            ignore this limit. A back-fill obeys it, and accepts no conversions for a destination
            that would refuse them because of their age.
    """

    batch: int = attrs.field(default=100, validator=positive)
    concurrency: int = attrs.field(default=4, validator=positive)
    rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    required_seconds: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(positive)
    )
    spacing: Callable[[float], float] | None = attrs.field(default=None, eq=False, repr=False)
    max_age: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))


class Sink(Protocol):
    """A destination's way to deliver conversions.

    Optional parts: ``async def aclose(self) -> None``, called when the client closes;
    `SupportsObserver`, to report events of its own; `SupportsToken`, for
    `AnyTrackClient.use_token`; `SupportsCheck` and `SupportsSetup`, for ``anytrack check`` and
    ``anytrack setup``.
    """

    @property
    def name(self) -> str:
        """The destination's name: a key for cursors and reports, unique within one outbox."""
        ...

    @property
    def limits(self) -> SinkLimits:
        """The limits that a lane obeys."""
        ...

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch* and return one outcome per conversion, in the same order.

        A batch may be sent again, so a repeat must not count twice at the service.

        Raises:
            Throttled: the service asks to wait; the lane pauses that long.
            BatchRejected: some conversion made the service reject the batch; the lane bisects it.
            Inconclusive: the service refused a batch of one, for a reason that need not be about
                its conversion; the lane retries it.
            NeedsOperator: credentials or configuration must be replaced; the lane holds.
            Unfinished: time ran out; conversions without an outcome are sent again at once, and
                this does not count as an attempt.
            Unavailable: the service is down; the lane probes until it responds. Any other exception
                counts as `Unavailable`.
        """
        ...


class ConfiguredSink(Sink, Protocol):
    """A sink that environment variables can configure; the registry lists such classes.

    Attributes:
        variables: names of the environment variables. Each starts with the destination's name in
            capitals, e.g. ``PIGEON_`` for ``pigeon``.
    """

    variables: ClassVar[Sequence[str]]

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self | None:
        """Return the sink that *environ* configures; None if it does not configure one.

        Args:
            environ: variables to use instead of the process's environment.
            transport: used instead of the sink's own connections, for tests.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        ...


# The optional parts. The client and the command line find them with `isinstance`, which only looks
# for the method, so a sink need not inherit from these classes.


@runtime_checkable
class SupportsObserver(Protocol):
    """A sink that reports events of its own, such as `Weakened`."""

    def set_observer(self, observer: Observer, /) -> None:
        """Report events to *observer*, which passes them on to all observers of the client."""
        ...


@runtime_checkable
class SupportsToken(Protocol):
    """A sink that lets its credentials be replaced while it runs."""

    def use_token(self, token: str, /) -> None:
        """Use *token* from the next request on.

        Raises:
            ConfigurationError: it cannot be a token; nothing has changed. The message does not show
                it.
        """
        ...


@attrs.frozen(kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        name: the checked item: ``"token"``, ``"scopes: deals"``, ``"property anytrack_source"``, ….
        ok: whether deliveries will work as far as this item is concerned.
        message: the result, and what to do if the check failed.
        setup: whether `SupportsSetup.setup` can fix the problem.
    """

    name: str
    ok: bool
    message: str
    setup: bool = False


@runtime_checkable
class SupportsCheck(Protocol):
    """A sink that can check whether deliveries will work."""

    async def check(self, *, currencies: Iterable[str] = ()) -> Sequence[Finding]:
        """Return the findings, without recording a conversion that counts.

        Args:
            currencies: ISO 4217 codes of the conversions that will be sent.
        """
        ...


@attrs.frozen(kw_only=True)
class SetupStep:
    """One step of a setup.

    Attributes:
        action: ``"create"`` in a dry run, otherwise ``"created"``; ``"exists"``; or ``"refused"``,
            because the name is taken by something else.
        kind: type of the object, e.g. ``"property"``.
        name: the object's name at the service.
        reason: why the step was refused.
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
    """A sink that needs objects, such as properties, to be created in the service once."""

    async def setup(self, *, dry_run: bool = False) -> Sequence[SetupStep]:
        """Create missing objects, leave existing ones unchanged, and return the steps.

        Args:
            dry_run: create nothing, only return the steps.
        """
        ...


@attrs.frozen(kw_only=True)
class Preview:
    """The requests that a destination would get for a conversion.

    Attributes:
        requests: kind of the request, e.g. ``"deal"`` → its part about the conversion. It has the
            customer's data: mask it before it is shown.
        match_keys: the service's names of the identifiers by which it will match the visitor.
        missing: identifiers that would improve the match.
        problem: why the service would refuse the conversion; empty if it would not.
        repeat: the effect of sending the conversion again, after the outbox has forgotten it.
    """

    requests: Mapping[str, Any]
    match_keys: Sequence[str] = ()
    missing: Sequence[str] = ()
    problem: str = ""
    repeat: str = ""


@runtime_checkable
class SupportsPreview(Protocol):
    """A sink that can show its requests for a conversion without sending them."""

    def preview(self, conversion: Conversion, /) -> Preview:
        """Return the requests for *conversion*, without sending them."""
        ...


@runtime_checkable
class SupportsQuota(Protocol):
    """A sink that knows how much of a service's limit is used, for the console."""

    @property
    def quota_used(self) -> float | None:
        """The used part of the quota, from 0 to 1; None while it is not known."""
        ...


# The signals. The outcomes that a sink had before it raised a signal are not lost: it passes them
# along in `outcomes`.


class SinkSignal(Exception):  # noqa: N818 - a signal to the lane, which callers never see
    """An exception of a sink that concerns the whole batch; its lane handles it.

    Attributes:
        reason: text for logs and reports; never contains a token or a customer's data.
        code: the service's error code, if any.
        outcomes: one per conversion, None for the conversions that the signal is about. Empty if it
            is about all of them. After two of four conversions were delivered:
            ``(delivered, delivered, None, None)``.
        http_status: the status of the service's response; None without a response.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: str | None = None,
        outcomes: Sequence[Outcome | None] = (),
        http_status: int | None = None,
    ) -> None:
        super().__init__(reason_text(reason))
        self.reason = reason_text(reason)
        self.code = code_text(code)
        self.outcomes = outcomes
        self.http_status = http_status


class Throttled(SinkSignal):
    """The service asks to wait.

    Attributes:
        after: seconds to wait. A lane waits longer where it would be throttled again and again: at
            least its backoff, also after 0 or a negative number.
    """

    def __init__(
        self,
        reason: str,
        *,
        after: float,
        code: str | None = None,
        outcomes: Sequence[Outcome | None] = (),
        http_status: int | None = None,
    ) -> None:
        super().__init__(reason, code=code, outcomes=outcomes, http_status=http_status)
        self.after = after


class BatchRejected(SinkSignal):
    """The service rejected the batch without saying which conversion caused it.

    About a batch of one, it says that this conversion is at fault; see `Inconclusive`.
    """


class NeedsOperator(SinkSignal):
    """Nothing can be delivered until an operator replaces the credentials or the configuration.

    Attributes:
        cause: ``"credentials"`` if the token, its permissions or the account are not accepted;
            ``"configuration"`` if the settings name something, such as a pipeline, that the service
            does not have.
    """

    def __init__(
        self,
        reason: str,
        *,
        cause: OperatorCause = "credentials",
        code: str | None = None,
        outcomes: Sequence[Outcome | None] = (),
        http_status: int | None = None,
    ) -> None:
        super().__init__(reason, code=code, outcomes=outcomes, http_status=http_status)
        self.cause: OperatorCause = cause


class Unfinished(SinkSignal):
    """Time ran out: conversions without an outcome were not sent, and may be sent at once."""


class Unavailable(SinkSignal):
    """The service did not respond, or responded that it failed."""


class Inconclusive(Unavailable):
    """The service refused a single conversion, but perhaps it refuses every other one too.

    An example is an unknown error code. The lane gives up no conversion for it, unless the service
    refuses the conversion twice and accepts others of the same batch in between.
    """


# Names of sinks


def checked_names(
    argument: str, names: Sequence[str], destinations: Sequence[str]
) -> tuple[str, ...]:
    """Return *names*, the value of *argument*, as a tuple.

    Raises:
        InvalidDestinationError: it is not a list, is a single string (which would be read letter
            by letter), or names a destination that is not one of *destinations*.
    """
    if isinstance(names, str):
        raise InvalidDestinationError(f"{argument} must be a list: [{shown(names)}]")
    try:
        checked: tuple[Any, ...] = tuple(names)
    except TypeError:
        kind = type(names).__name__
        raise InvalidDestinationError(f"{argument} must be a list, got {kind}") from None
    # Nearly always. Only for plain text: other objects may raise when they are compared.
    if {*map(type, checked)} == {str} and all(map(destinations.__contains__, checked)):
        return checked
    unknown = [name for name in checked if not isinstance(name, str) or name not in destinations]
    if unknown:
        raise InvalidDestinationError(
            f"{argument}: no destination {', '.join(map(_shown, unknown))}; "
            f"known destinations: {', '.join(destinations)}"
        )
    return checked


def _shown(name: object) -> str:
    return shown(name) if isinstance(name, str) else f"of type {type(name).__name__}"


def unique_names(sinks: Sequence[Sink]) -> tuple[str, ...]:
    """Return the names of *sinks*.

    Raises:
        ConfigurationError: two sinks share a name.
    """
    names = tuple(sink.name for sink in sinks)
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two sinks share a name: {', '.join(sorted(names))}")
    return names
