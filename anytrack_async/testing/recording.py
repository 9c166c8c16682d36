"""`RecordingClient` and `RecordingSink`: they remember an application's conversions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

from anyio import move_on_after
from anyio.lowlevel import checkpoint

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.delivery.accepting import AppendFunction
from anytrack_async.delivery.room import Patience
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.destinations.sink import Sink, SinkLimits, SinkSignal
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.settings.delivery import DeliverySettings
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.testing.local_sandbox import LocalSandbox

QUICK = DeliverySettings(
    retry=Retry(attempts=1_000, base=0.001, cap=0.02),
    probe=Retry(base=0.001, cap=0.02),
    hold_probe=0.05,
    drain=5,
)
"""Retries and probes within milliseconds, so that a test of an outage does not wait for its end.
As many attempts as a long outage needs."""


class RecordingSink:
    """A sink that keeps its batches and sends nothing.

    Args:
        name: the destination's name.
        limits: the limits that its lane obeys.

    Attributes:
        name: the destination's name.
        limits: the limits that its lane obeys.
        batches: the batches that it accepted, in order.
    """

    def __init__(self, name: str = "recording", *, limits: SinkLimits | None = None) -> None:
        self.name = name
        self.limits = limits or SinkLimits(batch=1_000)
        self.batches: list[Sequence[Conversion]] = []
        self._failures: list[SinkSignal | Outcome] = []

    @property
    def conversions(self) -> list[Conversion]:
        """The conversions that it accepted, in order."""
        return [conversion for batch in self.batches for conversion in batch]

    def fail_next(self, *failures: SinkSignal | Outcome) -> None:
        """Answer the next batches with *failures*, one after the other, then accept again.

        Args:
            failures: a signal such as `Throttled` or `Unavailable` is raised; an outcome such as
                ``Outcome.rejected("no")`` is that of each conversion of the batch.
        """
        self._failures += failures

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Keep *batch*, unless it is to fail."""
        await checkpoint()
        failure = self._failures.pop(0) if self._failures else None
        if isinstance(failure, SinkSignal):
            raise failure
        if failure is not None:
            return [failure] * len(batch)
        self.batches.append(batch)
        return [Outcome.delivered(f"{self.name}-{conversion.event_id}") for conversion in batch]


class RecordingClient(AnyTrackClient):
    """A client that sends to a sandbox in this process and remembers the accepted conversions.

    Give this client to the application under test in place of its own. Conversions take their whole
    way: validation, outbox, lanes, mapping and the services' own checks.

    Args:
        destinations: where conversions go in addition to AnyTrack: ``"meta"``, ``"hubspot"``.
        sinks: further sinks, such as a `RecordingSink`.
        sandbox: the stand-ins; default: new ones.
        options: arguments of `AnyTrackClient`; by default the outbox is in memory, and retries take
            milliseconds.

    Attributes:
        sandbox: the stand-ins of the services.
        accepted: the new conversions that were accepted, in order; repeats are not among them.
    """

    def __init__(
        self,
        destinations: Sequence[str] = ("meta", "hubspot"),
        *,
        sinks: Sequence[Sink] = (),
        sandbox: LocalSandbox | None = None,
        **options: Any,
    ) -> None:
        self.sandbox = sandbox or LocalSandbox()
        self.accepted: list[Conversion] = []
        account = self.sandbox.settings.anytrack
        defaults: dict[str, Any] = {
            "outbox": MemoryOutbox(),
            "delivery": QUICK,
            "http": HttpSettings(retry=Retry(attempts=1)),
            "transport": self.sandbox.transport,
        }
        super().__init__(
            account.keys[0],
            account.accounts[0],
            sinks=[*(self.sandbox.sinks(*destinations) if destinations else ()), *sinks],
            **(defaults | options),
        )
        self._dispatcher.append_wrappers.append(self._recorded)

    def _recorded(self, append: AppendFunction) -> AppendFunction:
        async def recorded(
            conversions: Sequence[Conversion], to: Sequence[str] | None, patience: Patience
        ) -> Sequence[AppendResult]:
            results = await append(conversions, to, patience)
            are_new = (result is Appended.NEW for result in results)
            self.accepted += compress(conversions, are_new)
            return results

        return recorded

    def tracked(self, **fields: Any) -> list[Conversion]:
        """Return the accepted conversions with these values in their fields: ``order_id="7"``."""
        return [
            conversion
            for conversion in self.accepted
            if all(getattr(conversion, name) == value for name, value in fields.items())
        ]

    async def settled(
        self, conversion: Conversion, *, timeout: float = 5.0
    ) -> Mapping[str, Outcome]:
        """Return destination → outcome of *conversion*, waiting until no destination has it left.

        Args:
            conversion: an accepted conversion.
            timeout: seconds; after it, the outcomes of that moment.
        """
        with move_on_after(timeout):
            delivery = await self.submit(conversion)  # a repeat: the delivery of the first
            return (await delivery).outcomes
        report = await self.outbox.reports([conversion.event_id])
        return report[conversion.event_id].outcomes


async def assert_tracked(
    client: RecordingClient,
    *,
    to: Sequence[str] = (ANYTRACK,),
    timeout: float = 5.0,
    **fields: Any,
) -> Conversion:
    """Assert that one conversion with these fields was tracked and delivered; return it.

    Args:
        client: the client that the application used.
        to: the destinations that have to accept it.
        timeout: seconds that the deliveries may take.
        fields: fields of the conversion, e.g. ``order_id="1003"`` or ``revenue=Decimal("49.90")``.

    Raises:
        AssertionError: no conversion, or more than one, was tracked with these fields, or a
            destination did not accept it; the message lists the tracked conversions, and the
            reason of the destination.
    """
    matches = client.tracked(**fields)
    criteria = ", ".join(f"{name}={value!r}" for name, value in fields.items()) or "any field"
    if len(matches) != 1:
        raise AssertionError(
            f"{len(matches)} conversions with {criteria} were tracked, expected one; "
            f"tracked: {', '.join(_described(client.accepted)) or 'none'}"
        )
    (conversion,) = matches
    outcomes = await client.settled(conversion, timeout=timeout)
    problems = [_problem(name, outcomes.get(name)) for name in to]
    if any(problems):
        raise AssertionError(f"{conversion.event_id}: " + "; ".join(filter(None, problems)))
    return conversion


def _described(conversions: Sequence[Conversion]) -> Iterator[str]:
    for conversion in conversions[:20]:
        amount = f"{conversion.revenue} {conversion.currency}"
        yield f"{conversion.event_id} ({conversion.conversion_type}, {amount})"


def _problem(name: str, outcome: Outcome | None) -> str | None:
    if outcome is None:
        return f"it was not addressed to {name}"
    if outcome.status is Status.DELIVERED:
        return None
    return f"{name} did not accept it: {outcome.status}: {outcome.error or 'no answer yet'}"
