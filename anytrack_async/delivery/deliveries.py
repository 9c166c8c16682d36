"""`Deliveries`: the handles of many conversions, each made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.errors import UndeliveredError
from anytrack_async.models.outcome import Outcome


class Deliveries(Sequence[Delivery]):
    """The deliveries of one call, in its order.

    Most callers drop them unseen. So each is made when it is asked for, and until then what
    happens to its conversion is only noted.

    Args:
        ids: event ids; each occurs once.
        destinations: whom the conversions are for.
        made: is told of each handle that is made.
    """

    __slots__ = ("__weakref__", "_destinations", "_failure", "_made", "_noted", "_tell", "ids")

    def __init__(
        self,
        ids: Sequence[str],
        destinations: tuple[str, ...],
        *,
        made: Callable[[Delivery], None],
    ) -> None:
        self.ids = ids
        self._destinations = destinations
        self._tell = made
        self._made: dict[str, Delivery] = {}
        self._noted: dict[str, dict[str, Outcome]] = {}
        self._failure: Callable[[Delivery], UndeliveredError] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Delivery: ...
    @overload
    def __getitem__(self, at: slice) -> list[Delivery]: ...
    def __getitem__(self, at: int | slice) -> Delivery | list[Delivery]:
        if isinstance(at, slice):
            return [self.make(event_id) for event_id in self.ids[at]]
        return self.make(self.ids[at])

    def __repr__(self) -> str:
        return f"<Deliveries of {len(self)} conversions>"

    def make(self, event_id: str) -> Delivery:
        """Return the one handle of *event_id*."""
        handle = self._made.get(event_id)
        if handle is None:
            handle = self._made[event_id] = Delivery(event_id, self._destinations)
            for outcome in self._noted.pop(event_id, {}).values():
                handle.resolve(outcome)
            if self._failure is not None and not handle.done():
                handle.fail(self._failure(handle))
            self._tell(handle)
        return handle

    def note(self, event_id: str, outcome: Outcome) -> None:
        """Keep *outcome* for the handle of *event_id*, which is not made yet."""
        noted = self._noted.setdefault(event_id, {})
        before = noted.get(outcome.destination)
        if before is None or not before.final:
            noted[outcome.destination] = outcome

    def fail(self, failure: Callable[[Delivery], UndeliveredError]) -> None:
        """Make those that are not made yet, and not done, raise what *failure* answers."""
        self._failure = failure
