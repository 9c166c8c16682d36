"""What a memory outbox remembers of conversions that every destination has: `Past`."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple, TypeAlias

Mask: TypeAlias = frozenset[str] | None
"""Whom a conversion is for; None for everyone."""


_SPARE = 8
"""One part in so many may be forgotten and still stand in the columns."""


class Gone(NamedTuple):
    """What is remembered of one conversion.

    Attributes:
        seq: its place in the log.
        mask: whom it was for.
        at: when it went, unix seconds.
    """

    seq: int
    mask: Mask
    at: float


class Past:
    """The newest *most* conversions that are gone, numbered from 1 in the order they went.

    Its columns are as compact as Python has them. They are cut at the beginning once a good part of
    the whole is forgotten, so that forgetting costs the same for any *most*.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._before = 0
        self._forgotten = 0
        self._ids: list[str] = []
        self._marks = array("q")
        self._seqs = array("q")
        self._masks: list[Mask] = []
        self._went = array("d")

    def add(
        self,
        ids: Sequence[str],
        marks: Iterable[int],
        seqs: Iterable[int],
        masks: Iterable[Mask],
        now: float,
    ) -> range:
        """Remember conversions that went *now*; return their numbers.

        Args:
            ids: their event ids.
            marks: `fingerprint` of each.
            seqs: their places in the log.
            masks: whom each was for.
            now: unix seconds.
        """
        first = self._before + len(self._ids) + 1
        self._marks += array("q", marks)  # at once, and first: who makes them may raise
        self._ids += ids
        self._seqs.extend(seqs)
        self._masks += masks
        self._went.extend(repeat(now, len(ids)))
        return range(first, first + len(ids))

    def mark(self, number: int) -> int:
        """Return the fingerprint of a conversion."""
        return self._marks[number - self._before - 1]

    def gone(self, number: int) -> Gone:
        """Return what else is remembered of a conversion."""
        at = number - self._before - 1
        return Gone(self._seqs[at], self._masks[at], self._went[at])

    def forget_excess(self) -> list[str]:
        """Forget the oldest of more than *most*; return their event ids."""
        return self._forget(max(len(self._ids) - self._most, 0))

    def forget_until(self, moment: float) -> list[str]:
        """Forget what went at or before *moment*, unix seconds; return their event ids."""
        younger = (at for at in range(self._forgotten, len(self._ids)) if self._went[at] > moment)
        return self._forget(next(younger, len(self._ids)))

    def _forget(self, until: int) -> list[str]:
        """Forget what stands in the columns before *until*."""
        ids = self._ids[self._forgotten : until]
        self._forgotten += len(ids)
        if self._forgotten * _SPARE > self._most:
            for column in (self._ids, self._marks, self._seqs, self._masks, self._went):
                del column[: self._forgotten]
            self._before, self._forgotten = self._before + self._forgotten, 0
        return ids
