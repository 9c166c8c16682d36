"""Methods that the outboxes of several engines have in common; they do no work of their own.

`DeadLetterMethods` checks the arguments of the methods about dead letters, once for every engine.
`StoredMethods` are the properties of an outbox that processes share and that outlasts them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import attrs

from anytrack_async.outbox.checks import check_destination, check_event_ids, check_number
from anytrack_async.outbox.dead_letters import ALL, DeadLetter, DeadLetterFilter


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
