"""What a claim holds: `Entry`, and many of them as `Entries`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple, Self, overload

import attrs

from anytrack_async.models.conversion import Conversion

_event_id = attrgetter("event_id")


class Entry(NamedTuple):
    """One conversion in a claim.

    Attributes:
        seq: its place in the log.
        conversion: the conversion.
        attempts: how often this destination tried it before.
        accepted_at: when it was accepted, unix seconds.
    """

    seq: int
    conversion: Conversion
    attempts: int
    accepted_at: float


@attrs.frozen(kw_only=True, eq=False)
class Entries(Sequence[Entry]):
    """The entries of a claim, kept as columns of equal length; an `Entry` is made when asked for.

    While a thousand wait for an answer, an object for each would be one more that Python's cyclic
    garbage collector has to look at.

    Attributes:
        seqs: their places in the log.
        conversions: the conversions.
        attempts: how often this destination tried each before.
        accepted_at: when each was accepted, unix seconds.
    """

    seqs: Sequence[int] = ()
    conversions: Sequence[Conversion] = ()
    attempts: Sequence[int] = ()
    accepted_at: Sequence[float] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Return *entries* as columns, in their order."""
        columns = tuple(zip(*entries, strict=True))
        if not columns:
            return cls()
        seqs, conversions, attempts, accepted_at = columns
        return cls(seqs=seqs, conversions=conversions, attempts=attempts, accepted_at=accepted_at)

    @property
    def event_ids(self) -> list[str]:
        """The conversions' event ids."""
        return list(map(_event_id, self.conversions))

    def __len__(self) -> int:
        return len(self.seqs)

    def __iter__(self) -> Iterator[Entry]:
        return map(Entry, self.seqs, self.conversions, self.attempts, self.accepted_at)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> Entries: ...
    def __getitem__(self, at: int | slice) -> Entry | Entries:
        if isinstance(at, slice):
            return Entries(
                seqs=self.seqs[at],
                conversions=self.conversions[at],
                attempts=self.attempts[at],
                accepted_at=self.accepted_at[at],
            )
        return Entry(self.seqs[at], self.conversions[at], self.attempts[at], self.accepted_at[at])
