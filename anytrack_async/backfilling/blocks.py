"""`Block`: some hundred rows of a source; `MappedBlock`: the conversions made of them.

`Breather` gives the event loop its turn while a thread works through many rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import attrs

from anytrack_async.backfilling.files import Fingerprint
from anytrack_async.backfilling.report import Reject, RowCounts, SourceInfo, add_counts
from anytrack_async.models.conversion import Conversion

BLOCK_ROWS = 500
"""Rows that a thread hands over at a time: so many that a row's share of the cost is small."""

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
        rows: the rows; each has a value for each column: text, or a value of JSON, Parquet or the
            database.
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


@attrs.frozen
class Position:
    """The place up to which rows were read: *rows* rows of source number *source*, from 0."""

    source: int = 0
    rows: int = 0


Group = tuple[int, Sequence[Any], Sequence[Sequence[Any]]]
"""The line of an order, its first row, and its further rows."""

_SEPARATOR = "\x1e\x1f"


class Origin(NamedTuple):
    """The rows of a conversion, for the file of rejected rows.

    A row of CSV is kept as a single text: 79 texts of their own would push whatever is needed next
    out of the processor's cache, which doubles the time of reading.
    """

    line: int
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any] | str]

    @classmethod
    def of(cls, group: Group, columns: tuple[str, ...], *, packed: bool) -> Origin:
        """Return where the conversion of *group* comes from."""
        line, row, further_rows = group
        if not packed:  # the values of JSON, Parquet and databases are not all texts
            return cls(line, columns, (row, *further_rows))
        if not further_rows:
            return cls(line, columns, (_SEPARATOR.join(row),))
        return cls(line, columns, [_SEPARATOR.join(cells) for cells in (row, *further_rows)])

    def unpacked(self) -> list[Sequence[Any]]:
        """Return the rows as they were read."""
        return [row.split(_SEPARATOR) if isinstance(row, str) else row for row in self.rows]


def joined(blocks: Sequence[MappedBlock]) -> Iterator[MappedBlock]:
    """Yield *blocks*, with consecutive blocks of the same source joined into one."""
    current, *later_blocks = blocks
    for block in later_blocks:
        if block.info is current.info:
            current.add(block)
        else:
            yield current
            current = block
    yield current


@attrs.define(kw_only=True)
class MappedBlock:
    """The conversions, rejects and counts of some hundred rows.

    Attributes:
        info: format, columns and preset of the source.
        conversions: the conversions.
        origins: the rows of each conversion.
        rejects: rows that could not be read.
        counts: rows, folded rows, skipped rows and refunds of the block.
        position: the place behind the block, where another run continues.
        fingerprint: identifies the part of the file that was read; None if no run can continue
            behind the block.
        fraction: the part of the source that was read; None if unknown.
        repeats: for each conversion, if repeats are looked for: None if its event id is new to the
            run, else whether the earlier row had the same type, amount and currency.
    """

    info: SourceInfo
    conversions: list[Conversion] = attrs.field(factory=list, repr=False)
    origins: list[Origin] = attrs.field(factory=list, repr=False)
    rejects: list[Reject] = attrs.field(factory=list)
    counts: RowCounts = attrs.field(factory=RowCounts)
    position: Position = attrs.field(factory=Position)
    fingerprint: Fingerprint | None = None
    fraction: float | None = None
    repeats: Sequence[bool | None] = ()

    def add(self, block: MappedBlock) -> None:
        """Add *block*, which follows this one in the same source."""
        self.conversions += block.conversions
        self.origins += block.origins
        self.rejects += block.rejects
        add_counts(self.counts, block.counts)
        self.position = block.position
        self.fingerprint = block.fingerprint
        self.fraction = block.fraction
        self.repeats = [*self.repeats, *block.repeats]

    def reject(self, origin: Origin, column: str, reason: str, event_id: str = "") -> Reject:
        """Return a reject of the rows of *origin*."""
        return Reject(
            source=self.info.name,
            line=origin.line,
            column=column,
            reason=reason,
            columns=origin.columns,
            rows=origin.unpacked(),
            event_id=event_id,
        )
