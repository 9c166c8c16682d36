"""The ids that a memory outbox remembers after a payload is gone: `RememberedIds`."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple, TypeAlias

Recipients: TypeAlias = frozenset[str] | None
"""Names of the destinations that a conversion is addressed to; None for all."""


class RememberedId(NamedTuple):
    """The remembered data of one dropped conversion.

    Attributes:
        seq: its position in the log.
        recipients: the destinations it was addressed to.
        dropped_at: when its payload was dropped, unix seconds.
    """

    seq: int
    recipients: Recipients
    dropped_at: float


class RememberedIds:
    """Ids and summaries of the newest *limit* dropped conversions, for detecting repeats.

    They are numbered from 1 in the order in which they were dropped. Forgotten ones stay in the
    columns until they are 1/8 of the limit: with a limit of 10,000 the columns are cut once for
    1,250 forgotten ids, so the cost of forgetting one does not depend on the limit.

    Args:
        limit: how many are remembered.
    """

    _UNUSED_SHARE = 8

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._offset = 0  # numbers up to this are no longer in the columns
        self._forgotten = 0  # rows at the beginning of the columns that are forgotten
        self._event_ids: list[str] = []
        self._summaries: list[str] = []
        self._seqs = array("q")
        self._recipients: list[Recipients] = []
        self._dropped_at = array("d")

    def add(
        self,
        event_ids: Sequence[str],
        summaries: Sequence[str],
        seqs: Iterable[int],
        recipients: Iterable[Recipients],
        now: float,
    ) -> range:
        """Remember conversions that are dropped *now*, unix seconds; return their numbers."""
        first = self._offset + len(self._event_ids) + 1
        self._event_ids += event_ids
        self._summaries += summaries
        self._seqs.extend(seqs)
        self._recipients += recipients
        self._dropped_at.extend(repeat(now, len(event_ids)))
        return range(first, first + len(event_ids))

    def summary(self, number: int) -> str:
        """Return the summary of a conversion."""
        return self._summaries[number - self._offset - 1]

    def get(self, number: int) -> RememberedId:
        """Return the position, the recipients and the time of dropping of a conversion."""
        row = number - self._offset - 1
        return RememberedId(self._seqs[row], self._recipients[row], self._dropped_at[row])

    def newest(self, before: int, limit: int) -> list[str]:
        """Return the event ids of the *limit* newest conversions below the position *before*."""
        rows = range(self._forgotten, len(self._event_ids))
        below = [row for row in rows if self._seqs[row] < before]
        newest = sorted(below, key=self._seqs.__getitem__, reverse=True)[:limit]
        return [self._event_ids[row] for row in newest]

    def accepted_after(self, seq: int) -> list[tuple[int, str]]:
        """Return positions above *seq* and event ids of conversions, in the order of the log."""
        rows = slice(self._forgotten, None)
        pairs = zip(self._seqs[rows], self._event_ids[rows], strict=True)
        return sorted(pair for pair in pairs if pair[0] > seq)

    def dropped_before(self, moment: float) -> int:
        """Return the last position that was dropped before *moment*, unix seconds; 0 if none."""
        row = bisect_left(self._dropped_at, moment)
        return max(self._seqs[:row], default=0)

    @property
    def first(self) -> int | None:
        """The first position with a remembered id."""
        return min(self._seqs[self._forgotten :], default=None)

    def forget_excess(self) -> list[str]:
        """Forget the oldest ids beyond the limit, and return them."""
        return self._forget(max(len(self._event_ids) - self._limit, 0))

    def forget_until(self, moment: float) -> list[str]:
        """Forget ids dropped at or before *moment*, unix seconds, and return them."""
        rows = range(self._forgotten, len(self._event_ids))
        younger = (row for row in rows if self._dropped_at[row] > moment)
        return self._forget(next(younger, len(self._event_ids)))

    def _forget(self, stop: int) -> list[str]:
        """Forget the rows before *stop*."""
        event_ids = self._event_ids[self._forgotten : stop]
        self._forgotten += len(event_ids)
        if self._forgotten * self._UNUSED_SHARE > self._limit:
            for column in (
                *(self._event_ids, self._summaries, self._seqs),
                *(self._recipients, self._dropped_at),
            ):
                del column[: self._forgotten]
            self._offset, self._forgotten = self._offset + self._forgotten, 0
        return event_ids
