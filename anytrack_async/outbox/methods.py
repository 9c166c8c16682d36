"""Methods that the outboxes of several engines have in common.

`DeadLetterMethods`, `DeadLetterStepMethods` and `HistoryMethods` check the arguments, once for
every engine, and call methods that the engine implements. `StoredMethods` are the properties of an
outbox that processes share and that outlasts them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox import counting
from anytrack_async.outbox.checks import (
    check_destination,
    check_event_ids,
    check_number,
    check_period,
    check_text,
)
from anytrack_async.outbox.dead_letters import (
    ALL,
    Action,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterStep,
)
from anytrack_async.outbox.history import (
    LAST_POSITION,
    AcceptedCount,
    OutcomeCount,
    RememberedConversion,
    SearchedIds,
)


@attrs.frozen
class DeadLetterSelection:
    """The dead letters that a call is about; its arguments are checked.

    Attributes:
        destination: only of this destination; None for all.
        event_ids: only of conversions with these event ids; None for all.
        where: only those that fulfil this condition.
    """

    destination: str | None
    event_ids: Sequence[str] | None
    where: DeadLetterFilter

    @classmethod
    def of(
        cls,
        destination: str | None,
        event_ids: Sequence[str] | None,
        where: DeadLetterFilter | None,
    ) -> DeadLetterSelection:
        """Return the selection of a caller's arguments.

        Raises:
            OutboxError: no destination can have such a name.
            InvalidArgumentError: *event_ids* are not a list of event ids.
        """
        if destination is not None:
            check_destination(destination)
        ids = None if event_ids is None else check_event_ids(event_ids)
        return cls(destination, ids, where or ALL)


class DeadLetterMethods(ABC):
    """The methods of an `Outbox` that select dead letters; an engine implements the changes."""

    async def dead_letters(
        self,
        destination: str | None = None,
        *,
        event_ids: Sequence[str] | None = None,
        where: DeadLetterFilter | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[DeadLetter]:
        """Return dead letters in log order; see `Outbox.dead_letters`."""
        after, limit = check_number("after", after), check_number("limit", limit)
        selection = DeadLetterSelection.of(destination, event_ids, where)
        return await self._read_dead_letters(selection, after, limit)

    async def replay(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Make dead letters due now with 0 attempts; see `Outbox.replay`."""
        return await self._replay_selected(DeadLetterSelection.of(destination, event_ids, where))

    async def discard(
        self,
        destination: str | None,
        event_ids: Sequence[str] | None = None,
        *,
        where: DeadLetterFilter | None = None,
    ) -> int:
        """Give up dead letters for good; see `Outbox.discard`."""
        return await self._discard_selected(DeadLetterSelection.of(destination, event_ids, where))

    @abstractmethod
    async def _read_dead_letters(
        self, selection: DeadLetterSelection, after: int, limit: int
    ) -> Sequence[DeadLetter]: ...

    @abstractmethod
    async def _replay_selected(self, selection: DeadLetterSelection) -> int: ...

    @abstractmethod
    async def _discard_selected(self, selection: DeadLetterSelection) -> int: ...


class DeadLetterStepMethods(ABC):
    """The methods of `SearchesDeadLetters`; an engine implements one step of each."""

    async def search_dead_letters(
        self,
        destination: str | None,
        where: DeadLetterFilter,
        *,
        after: int = 0,
        limit: int = 100,
        within: int = 5_000,
    ) -> DeadLetterPage:
        """Return dead letters that fulfil a condition; see `SearchesDeadLetters`."""
        if destination is not None:
            check_destination(destination)
        after, limit = check_number("after", after), check_number("limit", limit)
        return await self._search_dead(destination, where, after, limit, within)

    async def count_dead_letters(
        self, destination: str | None, where: DeadLetterFilter, *, within: int = 5_000
    ) -> DeadLetterStep:
        """Return how many of the first dead letters fulfil a condition."""
        if destination is not None:
            check_destination(destination)
        steps = [
            await self._count_dead(name, where, within) for name in await self._names(destination)
        ]
        ends = [step.after for step in steps if step.after is not None]
        return DeadLetterStep(
            count=sum(step.count for step in steps), after=min(ends, default=None)
        )

    async def change_dead_letters(
        self, action: Action, destination: str, where: DeadLetterFilter, *, after: int = 0
    ) -> DeadLetterStep:
        """Replay or discard some dead letters after a position."""
        check_destination(destination)
        return await self._change_dead(action, destination, where, check_number("after", after))

    @abstractmethod
    async def _names(self, destination: str | None) -> Sequence[str]:
        """Return *destination*, or the names of all; raise `OutboxError` if it is unknown."""

    @abstractmethod
    async def _search_dead(
        self, destination: str | None, where: DeadLetterFilter, after: int, limit: int, within: int
    ) -> DeadLetterPage: ...

    @abstractmethod
    async def _count_dead(
        self, name: str, where: DeadLetterFilter, within: int
    ) -> DeadLetterStep: ...

    @abstractmethod
    async def _change_dead(
        self, action: Action, name: str, where: DeadLetterFilter, after: int
    ) -> DeadLetterStep: ...


class HistoryMethods(ABC):
    """Methods of `KeepsHistory` that read; an engine implements reading its records."""

    async def outcome_counts(
        self, *, since: float, until: float | None = None, destination: str | None = None
    ) -> Sequence[OutcomeCount]:
        """Return the outcomes of a period; see `KeepsHistory`."""
        since, until = check_period(since, until)
        destination = check_text("destination", destination)
        counts = await self._outcomes_between(since, until, destination)
        return counting.outcome_counts(counts, since, until, destination)

    async def accepted_counts(
        self, *, since: float, until: float | None = None
    ) -> Sequence[AcceptedCount]:
        """Return the conversions accepted in a period; see `KeepsHistory`."""
        since, until = check_period(since, until)
        counts = await self._accepted_between(since, until)
        return counting.accepted_counts(counts, since, until)

    async def delivered_at(self, event_id: str) -> Mapping[str, float]:
        """Return destination → when it confirmed the conversion; see `KeepsHistory`."""
        (event_id,) = check_event_ids([event_id])
        report = (await self.reports([event_id])).get(event_id)
        outcomes = report.outcomes if report else {}
        delivered = {name for name, item in outcomes.items() if item.status is Status.DELIVERED}
        dates = await self._delivery_dates(event_id) if delivered else {}
        return {name: date for name, date in dates.items() if name in delivered}

    async def find(
        self,
        *,
        event_id: str | None = None,
        order_id: str | None = None,
        click_id: str | None = None,
        limit: int = 20,
    ) -> Sequence[RememberedConversion]:
        """Return the conversions that have one of the given ids; see `KeepsHistory`."""
        ids = SearchedIds(event_id=event_id, order_id=order_id, click_id=click_id)
        return await self._find(ids, check_number("limit", limit))

    async def recent(
        self, *, before: int | None = None, limit: int = 50
    ) -> Sequence[RememberedConversion]:
        """Return remembered conversions, the newest first; see `KeepsHistory`."""
        position = LAST_POSITION if before is None else check_number("before", before)
        return await self._newest_below(position, check_number("limit", limit))

    @abstractmethod
    async def reports(self, event_ids: Sequence[str]) -> Mapping[str, Report]:
        """Return event id → outcomes; see `Outbox.reports`."""

    @abstractmethod
    async def _outcomes_between(
        self, since: float, until: float | None, destination: str | None
    ) -> Mapping[counting.Result, tuple[int, float]]:
        """Return the counts of a period, or more, with the meaning of `Counts.outcomes`."""

    @abstractmethod
    async def _accepted_between(
        self, since: float, until: float | None
    ) -> Iterable[tuple[counting.Kind, tuple[int, Decimal]]]:
        """Return the counts of a period, or more, with the meaning of `Counts.accepted`."""

    @abstractmethod
    async def _delivery_dates(self, event_id: str) -> Mapping[str, float]:
        """Return destination → when it confirmed a conversion, also if it was replayed since."""

    @abstractmethod
    async def _find(self, ids: SearchedIds, limit: int) -> Sequence[RememberedConversion]: ...

    @abstractmethod
    async def _newest_below(self, position: int, limit: int) -> Sequence[RememberedConversion]: ...


class StoredMethods(ABC):
    """The properties of an outbox on a disk or a server, and the start of serving a client."""

    _capacity: int
    _max_attempts: int

    @property
    def durable(self) -> bool:
        """True: accepted conversions survive the end of the process, and power loss."""
        return True

    @property
    def shared(self) -> bool:
        """True: other processes may append and settle too."""
        return True

    @property
    def capacity(self) -> int:
        """How many conversions may wait for each destination."""
        return self._capacity

    def attach(self, max_attempts: int) -> None:
        """Begin to serve a client; see `ServesOneClient`."""
        self._check_closed()
        self._max_attempts = max_attempts

    @abstractmethod
    def _check_closed(self) -> None:
        """Raise `OutboxError` if the outbox is open."""
