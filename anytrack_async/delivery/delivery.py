"""`Delivery`, the handle a caller awaits, and `DeliveryBatch`, those of one `submit_many`.

A caller that submits and forgets must cost nothing, however long the backlog. So deliveries are
referenced weakly, and those of a large `submit_many` are only created when the caller takes them
out of the sequence that it got.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from asyncio import _get_running_loop as running_loop
from collections.abc import Callable, Generator, Sequence
from typing import Any, overload
from weakref import ref

import anyio

from anytrack_async.errors import ConfigurationError, UndeliveredError, WrongEventLoopError
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.outcome import Outcome, Report, Status


class Delivery:
    """One accepted conversion on its way.

    ``await delivery`` returns the `Report` of all its destinations once the outcome at each is
    final (delivered, or dead); ``await delivery.at("meta")`` returns the `Outcome` at one. Both
    raise `UndeliveredError` if the client closes first. The conversion is delivered whether or not
    you keep or await this object. A conversion that comes again has the outcomes of the first one.
    Only the event loop in which the client is open can wait: others get `WrongEventLoopError`.

    Attributes:
        event_id: the conversion's event id.
    """

    __slots__ = (
        *("__weakref__", "_changed", "_failure", "_loop", "_outcomes", "_watchers"),
        *("addressed_to", "earlier", "event_id"),
    )

    # For the dispatcher: the destinations that it was last addressed to, and another delivery, not
    # set unless a finished one of the same event id existed.
    addressed_to: tuple[str, ...]
    earlier: ref[Delivery]

    @property
    def contradicts(self) -> Contradiction | None:
        """How the conversion contradicts the first one with its event id, if it does.

        The first one is kept: the outcomes are those of the first one.
        """
        return None

    def __init__(
        self,
        event_id: str,
        destinations: tuple[str, ...],
        loop: AbstractEventLoop | None = None,
    ) -> None:
        self.event_id = event_id
        self.addressed_to = destinations
        self._loop = loop
        self._outcomes: dict[str, Outcome | None] = dict.fromkeys(destinations)
        self._changed: anyio.Event | None = None
        self._failure: UndeliveredError | None = None
        self._watchers: tuple[Callable[[Delivery], None], ...] = ()

    def __repr__(self) -> str:
        outcomes = self.report.outcomes.values()
        summary = ", ".join(f"{outcome.destination} {outcome.status}" for outcome in outcomes)
        return f"<Delivery {self.event_id!r}: {summary}>"

    def __await__(self) -> Generator[Any, None, Report]:
        return self._wait().__await__()

    async def _wait(self) -> Report:
        while not self.done():
            await self._wait_for_change()
        return self.report

    async def at(self, destination: str) -> Outcome:
        """Wait for the final outcome at *destination*: delivered, or dead.

        Raises:
            ConfigurationError: the conversion is not for that destination.
            UndeliveredError: the client closed first.
        """
        while True:
            outcome = self._outcome_at(destination)
            if outcome and (outcome.status is Status.DELIVERED or outcome.final):
                return outcome
            await self._wait_for_change()

    def _outcome_at(self, destination: str) -> Outcome | None:
        if destination not in self._outcomes:
            destinations = ", ".join(self._outcomes) or "none"
            raise ConfigurationError(
                f"conversion {self.event_id!r} is not for {destination!r}, only for: {destinations}"
            )
        return self._outcomes[destination]

    async def _wait_for_change(self) -> None:
        if self._failure is not None:
            # All waiting callers raise the same object: without the last one's traceback.
            raise self._failure.with_traceback(None)
        if self._loop is not None and running_loop() is not self._loop:
            raise WrongEventLoopError(
                f"conversion {self.event_id!r} was submitted in another event loop, or before this "
                "process was forked: await its delivery there"
            )
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    @property
    def report(self) -> Report:
        """The outcomes so far, without waiting."""
        return Report(
            event_id=self.event_id,
            outcomes={
                name: outcome or Outcome(status=Status.WAITING, destination=name, attempts=0)
                for name, outcome in self._outcomes.items()
            },
            contradicts=self.contradicts,
        )

    def done(self, destinations: tuple[str, ...] | None = None) -> bool:
        """Return whether the outcome at each of *destinations* (default: all) is final.

        A destination that the conversion is not for counts as done.
        """
        outcomes = self._outcomes
        names = outcomes if destinations is None else outcomes.keys() & destinations
        return all((outcome := outcomes[name]) and outcome.final for name in names)

    # For the dispatcher

    @property
    def pending(self) -> list[str]:
        """The destinations without a final outcome so far."""
        return [
            name for name, outcome in self._outcomes.items() if outcome is None or not outcome.final
        ]

    @property
    def awaited(self) -> bool:
        """Whether a caller is waiting for it now."""
        return bool(self._watchers) or self._changed is not None

    @property
    def failure(self) -> UndeliveredError | None:
        """The error that waiting for it raises, if the client closed first."""
        return self._failure

    def watch(self, watcher: Callable[[Delivery], None]) -> None:
        """Call *watcher* after each change."""
        if watcher not in self._watchers:
            self._watchers += (watcher,)

    def unwatch(self, watcher: Callable[[Delivery], None]) -> None:
        """Stop calling *watcher*."""
        self._watchers = tuple(other for other in self._watchers if other != watcher)

    def resolve(self, outcome: Outcome) -> None:
        """Record the outcome at one destination; a final outcome is never replaced."""
        previous = self._outcomes.get(outcome.destination)
        if previous is None or not previous.final:
            self._outcomes[outcome.destination] = outcome
            self._notify()

    def resolve_id(self, event_id: str, outcome: Outcome) -> None:
        """Record the outcome of *event_id*, which is this delivery's; see `DeliveryBatch`."""
        self.resolve(outcome)

    def refresh_from(self, report: Report, destinations: Sequence[str]) -> None:
        """Update from the outbox.

        Args:
            report: the outcomes at the destinations the stored conversion is addressed to.
            destinations: all that this client has; others are of no interest to its callers.
        """
        names = tuple(
            name for name in destinations if name in report.outcomes or self._is_dropped(name)
        )
        self.address(names)
        for name in names:
            if name in report.outcomes:
                self.resolve(report.outcomes[name])

    def _is_dropped(self, name: str) -> bool:
        outcome = self._outcomes.get(name)
        return outcome is not None and outcome.status is Status.DROPPED

    def address(self, destinations: tuple[str, ...]) -> None:
        """Make it the delivery of a conversion to *destinations*, and to no other."""
        self.addressed_to = destinations
        if self._outcomes.keys() != set(destinations):
            self._outcomes = {name: self._outcomes.get(name) for name in destinations}
            self._notify()

    def fail(self, failure: UndeliveredError) -> None:
        """Make every caller that waits, now or later, raise *failure*."""
        self._failure = failure
        self._notify()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        for watcher in self._watchers:
            watcher(self)


class DeliveryBatch(Sequence[Delivery]):
    """The deliveries of one `submit_many` call, in its order, each created when it is taken out.

    Most callers drop them unseen. Until a delivery is created, the outcomes of its conversion are
    only recorded.

    Args:
        ids: event ids, each once.
        destinations: names of the destinations the conversions are for.
        on_created: called with each delivery that is created.
        loop: the event loop in which the client is open.
    """

    __slots__ = (
        *("__weakref__", "_created", "_destinations", "_failure", "_loop", "_on_created"),
        *("_outcomes", "ids"),
    )

    def __init__(
        self,
        ids: Sequence[str],
        destinations: tuple[str, ...],
        *,
        on_created: Callable[[Delivery], None],
        loop: AbstractEventLoop | None = None,
    ) -> None:
        self.ids = ids
        self._loop = loop
        self._destinations = destinations
        self._on_created = on_created
        self._created: dict[str, Delivery] = {}
        self._outcomes: dict[str, dict[str, Outcome]] = {}
        self._failure: Callable[[Delivery], UndeliveredError] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Delivery: ...
    @overload
    def __getitem__(self, index: slice) -> list[Delivery]: ...
    def __getitem__(self, index: int | slice) -> Delivery | list[Delivery]:
        if isinstance(index, slice):
            return [self.delivery(event_id) for event_id in self.ids[index]]
        return self.delivery(self.ids[index])

    def __repr__(self) -> str:
        return f"<DeliveryBatch of {len(self)} conversions>"

    def delivery(self, event_id: str) -> Delivery:
        """Return the one delivery of *event_id*, created by the first call."""
        delivery = self._created.get(event_id)
        if delivery is None:
            delivery = Delivery(event_id, self._destinations, self._loop)
            self._created[event_id] = delivery
            for outcome in self._outcomes.pop(event_id, {}).values():
                delivery.resolve(outcome)
            if self._failure is not None and not delivery.done():
                delivery.fail(self._failure(delivery))
            self._on_created(delivery)
        return delivery

    def resolve_id(self, event_id: str, outcome: Outcome) -> None:
        """Record the outcome of *event_id*, for the delivery that is not created yet."""
        outcomes = self._outcomes.setdefault(event_id, {})
        previous = outcomes.get(outcome.destination)
        if previous is None or not previous.final:
            outcomes[outcome.destination] = outcome

    def fail(self, failure: Callable[[Delivery], UndeliveredError]) -> None:
        """Fail the deliveries that are not created yet, once they are and if they are not done."""
        self._failure = failure
