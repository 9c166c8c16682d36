"""`Block`: about a thousand rows of a source, and `Breather`, which keeps the event loop prompt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import attrs

from anytrack_async.backfilling.report import SourceInfo

BLOCK_ROWS = 500
"""Rows that a thread hands over at a time: so many that this costs next to nothing for each."""

PIECE_ROWS = 50
"""Rows of text read at a time: so few that they are still in the processor's cache when they are
mapped. Rows of Shopify are 5 KB."""

_BREATH_SECONDS = 0.002
_PAUSE_SECONDS = 0.000001


@attrs.frozen(kw_only=True)
class BadRow:
    """A row that the file's format does not allow.

    Attributes:
        line: the line where the row begins, from 1.
        problem: the fault, and how to correct it.
        cells: the cells that could be read.
    """

    line: int
    problem: str
    cells: Sequence[Any] = attrs.field(default=(), repr=False)


@attrs.frozen(kw_only=True)
class Block:
    """Some rows of a source, in order.

    Attributes:
        columns: the header.
        rows: the rows; each has a value for each column: text, or what JSON, Parquet or the
            database has.
        lines: the line where each row begins, from 1.
        bad: rows of this part of the file that could not be read.
        consumed: data rows of the source up to the end of the block, bad ones included.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]] = attrs.field(repr=False)
    lines: Sequence[int] = attrs.field(repr=False)
    bad: Sequence[BadRow] = attrs.field(default=(), repr=False)
    consumed: int = 0


class RowReader(Protocol):
    """An opened source. All of its methods block, so they are called in the reading thread."""

    info: SourceInfo
    parameters: dict[str, str]
    """Parameters that the file states before its header, such as the time zone; lower case."""

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Read the source once, without its first *skip* rows."""
        ...


class Breather:
    """Lets the event loop have Python's lock while a thread works through many rows.

    A thread that is busy in Python gives up the lock only when another thread has waited for it for
    5 ms, and a call into C may take longer. Two milliseconds of work are followed by the shortest
    pause there is, in which the loop gets its turn: a sleep of 1 µs takes 60 µs, 3 % of the time,
    because the kernel waits 50 µs for other timers.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since = clock()

    def breathe(self) -> None:
        """Pause if the last pause is long enough ago; call it every few dozen rows."""
        if self._clock() - self._since > _BREATH_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            self._since = self._clock()
