"""Dead letters, conditions on their reason and age, and searching for those that fulfil one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import attrs

from anytrack_async.models.conversion import Conversion


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A conversion that a destination will never accept, with the reason.

    Attributes:
        seq: position in the log; pass the last one as `after` to get the next page.
        destination: name of the destination that rejected the conversion.
        conversion: the conversion.
        attempts: number of failed deliveries.
        error: the reason, in the destination's own words where it gave any.
        code: the destination's error code.
        died_at: when delivery was given up: the date, unix seconds.
    """

    seq: int
    destination: str
    conversion: Conversion
    attempts: int
    error: str
    code: str | None
    died_at: float

    @property
    def event_id(self) -> str:
        """The conversion's event id."""
        return self.conversion.event_id

    @property
    def died(self) -> datetime:
        """When delivery was given up, with the time zone UTC."""
        return datetime.fromtimestamp(self.died_at, UTC)


@attrs.frozen(kw_only=True)
class DeadLetterFilter:
    """A condition on dead letters; the default is fulfilled by all.

    Ages are on the outbox's clock, so setting the date of the machine changes none. They count from
    when the conversion became a dead letter.

    Attributes:
        code: the destination's error code.
        text: a part of the reason; upper and lower case are the same.
        died_before: before which date delivery was given up, unix seconds.
        died_after: after which date it was given up, unix seconds.
        min_age: how old the dead letter is at least, seconds.
        max_age: how old it is at most, seconds.
    """

    code: str | None = None
    text: str | None = attrs.field(default=None)
    died_before: float = math.inf
    died_after: float = -math.inf
    min_age: float = -math.inf
    max_age: float = math.inf

    def matches(self, *, error: str, code: str | None, died_at: float, age: float) -> bool:
        """Return whether a dead letter fulfils the condition.

        Args:
            error: the reason.
            code: the destination's error code.
            died_at: when delivery was given up: the date, unix seconds.
            age: seconds since then, on the outbox's clock.
        """
        return (
            (self.code is None or code == self.code)
            and (self.text is None or self.text.casefold() in error.casefold())
            and self.died_after < died_at < self.died_before
            and self.min_age <= age <= self.max_age
        )


ALL = DeadLetterFilter()
"""Fulfilled by every dead letter."""

Action: TypeAlias = Literal["replay", "discard"]
"""What may be done with dead letters, see `Outbox.replay` and `Outbox.discard`."""


DeadLetterKey: TypeAlias = tuple[int, str]
"""Position and destination of a dead letter."""


class SearchPart(NamedTuple):
    """One part of a search: the dead letters that fulfil the condition.

    Attributes:
        keys: position and destination of each, in log order.
        end: the position up to which all dead letters were looked at; None if there are no more.
    """

    keys: Sequence[DeadLetterKey]
    end: int | None

    @classmethod
    def merged(cls, parts: Iterable[SearchPart]) -> SearchPart:
        """Return one part from those of several destinations.

        With 2,000 of "meta" up to position 8,000 and all 30 of "crm", up to 9,500, the part ends at
        8,000: after that, some of "meta" are not read yet.
        """
        parts = list(parts)
        end = min((part.end for part in parts if part.end is not None), default=None)
        keys = [key for part in parts for key in part.keys if end is None or key[0] <= end]
        return cls(sorted(keys), end)

    def limited(self, limit: int, after: int) -> SearchPart:
        """Return the first *limit* keys, and all of the last position, of a part after *after*.

        With a limit of 2, dead letters at (7, "anytrack"), (9, "anytrack") and (9, "meta") are one
        page of 3, because the next page starts after position 9.
        """
        if len(self.keys) <= limit:
            return self
        end = self.keys[limit - 1][0] if limit else after
        return SearchPart([key for key in self.keys if key[0] <= end], end)


@attrs.frozen(kw_only=True)
class DeadLetterPage:
    """The dead letters that one part of a search has found.

    Attributes:
        letters: the dead letters that fulfil the condition, in log order.
        after: the position after which the search may go on; None if there is nothing more.
    """

    letters: Sequence[DeadLetter] = ()
    after: int | None = None


@attrs.frozen(kw_only=True)
class DeadLetterStep:
    """How many dead letters one part of a search has counted or changed.

    Attributes:
        count: their number.
        after: the position after which the next part begins; None if this was the last one.
    """

    count: int = 0
    after: int | None = None


@runtime_checkable
class SearchesDeadLetters(Protocol):
    """Optional part of an outbox that searches its dead letters in parts of a bounded size.

    Of 100,000 dead letters, the few with some words may be the last ones. So a page that shows them
    looks at some thousands, says so, and goes on when it is asked to.
    """

    async def search_dead_letters(
        self,
        destination: str | None,
        where: DeadLetterFilter,
        *,
        after: int = 0,
        limit: int = 100,
        within: int = 5_000,
    ) -> DeadLetterPage:
        """Return dead letters that fulfil a condition, as `Outbox.dead_letters` does.

        Args:
            destination: only of this destination; None for all.
            where: the condition.
            after: only those with a `seq` above this one.
            limit: how many, about.
            within: how many to look at for each destination, about.
        """
        ...

    async def count_dead_letters(
        self, destination: str | None, where: DeadLetterFilter, *, within: int = 5_000
    ) -> DeadLetterStep:
        """Return how many of the first *within* of each destination fulfil a condition."""
        ...

    async def change_dead_letters(
        self, action: Action, destination: str, where: DeadLetterFilter, *, after: int = 0
    ) -> DeadLetterStep:
        """Replay or discard some dead letters after a position, in one short atomic step.

        Call it again with the `after` that it returns, until that is None.
        """
        ...
