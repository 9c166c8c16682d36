"""The reports of a back-fill: rejected rows, counts, progress, and the final report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs

from anytrack_async.delivery.flow import LaneState

REJECT_COLUMNS: Final = ("_line", "_column", "_reason")
"""Columns of a file of rejected rows, behind those of the original file."""

TEXT_COLUMN: Final = "_text"
"""Column of a rejected line that is not JSON: its text."""

REPEAT = "accepted before"
"""The reason for skipping a row with an event id in the outbox; see `RowCounts.skipped`."""


@attrs.frozen(kw_only=True)
class Reject:
    """A row, or the rows of an order, that cannot be read as a conversion.

    Attributes:
        source: name of the file or query.
        line: the line where the row begins, from 1; of a table without lines, the row's number.
        column: the column with the problem; empty if the problem is about the whole row.
        reason: the problem and its remedy; free of the row's values.
        columns: the header of the file.
        rows: the rows' values, in the header's order; never part of the `repr`.
        event_id: the event id, if the row is a conversion that contradicts an earlier one.
    """

    source: str
    line: int
    column: str = ""
    reason: str
    columns: Sequence[str] = attrs.field(default=(), repr=False)
    rows: Sequence[Sequence[Any]] = attrs.field(default=(), repr=False)
    event_id: str = ""

    def __str__(self) -> str:
        column = f", column {self.column!r}" if self.column else ""
        return f"{self.source}, line {self.line}{column}: {self.reason}"


@attrs.frozen(kw_only=True)
class SourceInfo:
    """Format, columns and preset of a source.

    Attributes:
        name: the file's name, ``"<stdin>"`` or ``"<query>"``.
        format: ``csv``, ``jsonl``, ``json``, ``parquet``, ``arrow`` or ``sql``.
        columns: its header.
        preset: name of the preset that reads it.
        title: of the preset, e.g. "Shopify: Orders → Export".
        recognised: whether the preset was found by the file's columns.
        encoding: of a text file.
        delimiter: of a CSV file.
        guessed: which of encoding and delimiter were found in the file, not stated.
        size: in bytes; None if unknown.
    """

    name: str
    format: str
    columns: Sequence[str] = ()
    preset: str = ""
    title: str = ""
    recognised: bool = False
    encoding: str | None = None
    delimiter: str | None = None
    guessed: Sequence[str] = ()
    size: int | None = None


@attrs.define(kw_only=True)
class RowCounts:
    """Numbers of rows by their result: accepted + skipped + rejected = rows.

    Attributes:
        rows: orders or other records; an order with a row for each line item is one.
        folded: further rows of the orders, e.g. two for an order of three line items.
        accepted: new conversions that the outbox has accepted; in a dry run, would accept.
        skipped: reason → rows that were left out on purpose.
        rejected: rows that could not be read, or contradict a conversion accepted before.
        repeats: the part of `skipped` or `rejected` that was accepted before.
        refunds: refunds and cancellations among the rows, whether skipped or sent.
        contradictions: the part of `rejected` that contradicts a conversion accepted before.
        too_old: destination → accepted conversions that were not addressed to it, because they are
            too old for it.
        origin: destination → accepted conversions that were not addressed to it, because they were
            exported from it: AnyTrack has its own conversions already.
        totals: currency → sum of the revenue of accepted sales, major units.
        weakened: kind → conversions that lost a value, see `Conversion.weakened`.
        future: the part of `accepted` that is dated more than ten minutes ahead, as if it had not
            happened yet: the zone, or the order of day and month, may be wrong. Meta would refuse
            such a time, so that it is dated now there.
        earliest: time of the earliest accepted conversion, UTC.
        latest: time of the latest accepted conversion, UTC.
    """

    rows: int = 0
    folded: int = 0
    accepted: int = 0
    skipped: dict[str, int] = attrs.field(factory=dict)
    rejected: int = 0
    repeats: int = 0
    refunds: int = 0
    contradictions: int = 0
    too_old: dict[str, int] = attrs.field(factory=dict)
    origin: dict[str, int] = attrs.field(factory=dict)
    totals: dict[str, Decimal] = attrs.field(factory=dict)
    weakened: dict[str, int] = attrs.field(factory=dict)
    future: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None

    @property
    def all_skipped(self) -> int:
        """Rows that were left out on purpose, for any reason."""
        return sum(self.skipped.values())

    def skip(self, reason: str, count: int = 1) -> None:
        """Count rows that are left out because of *reason*."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count


def add_counts(total: RowCounts, part: RowCounts) -> None:
    """Add the rows, folded rows, skipped rows, repeats and refunds of *part* to *total*."""
    total.rows += part.rows
    total.folded += part.folded
    total.repeats += part.repeats
    total.refunds += part.refunds
    for reason, count in part.skipped.items():
        total.skip(reason, count)


@attrs.frozen(kw_only=True)
class DestinationProgress:
    """Where one destination is.

    Attributes:
        state: its lane's state.
        delivered: conversions delivered since the run began.
        waiting: conversions that wait for it, including those in flight and retrying.
        retrying: the part of `waiting` that failed and will be sent again.
        dead: dead letters since the run began, and those that are left of the runs it resumes.
        rate: conversions delivered per second, over the last seconds.
        eta: seconds until it has all conversions accepted so far, at that rate; None if unknown.
        throttled_until: when it may be sent to again, UTC; None if it is not throttled.
        reason: why it is throttled, down or held.
    """

    state: LaneState | None = None
    delivered: int = 0
    waiting: int = 0
    retrying: int = 0
    dead: int = 0
    rate: float = 0.0
    eta: float | None = None
    throttled_until: datetime | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class Progress:
    """A snapshot of a run.

    Attributes:
        phase: ``"reading"``, ``"delivering"`` or ``"done"``.
        source: format, columns and preset of the source being read; None before the first source.
        counts: rows so far; changes while the run goes on.
        fraction: the part of all bytes that has been read, 0 to 1; None if unknown.
        seconds: time since the run began.
        destinations: destination → its progress; empty in a dry run.
    """

    phase: str
    source: SourceInfo | None = None
    counts: RowCounts = attrs.field(factory=RowCounts)
    fraction: float | None = None
    seconds: float = 0.0
    destinations: Mapping[str, DestinationProgress] = attrs.field(factory=dict)


OnProgress: TypeAlias = Callable[[Progress], None]
"""Called about twice a second, on the event loop."""

OnReject: TypeAlias = Callable[[Reject], None]
"""Called for each rejected row, on the event loop."""


@attrs.frozen(kw_only=True)
class BackfillReport:
    """The result of a back-fill.

    Attributes:
        counts: rows of this run.
        sources: format, columns and preset of each source.
        rejects: the first rejected rows; the rejects file has all.
        rejects_file: path of the file of rejected rows; None if no row was rejected or no such file
            was asked for.
        unchanged: whether an earlier run with the same settings has accepted the whole content of
            the same files: then the rows were not read again, and count as accepted before.
        resumed_at: number of rows that an earlier run had read, and that this run left out.
        rejected_before: the part of `resumed_at` that the earlier run rejected.
        destinations: destination → its progress at the end.
        expected_seconds: destination → how long delivery takes at its rate limit, for a dry run.
        dry_run: whether nothing was sent or written.
        stopped: why the run ended early: ``"max_rejects"``, ``"limit"``, for the command also
            ``"interrupted"`` and ``"full"``; empty if it did not.
        seconds: how long the run took.
    """

    counts: RowCounts
    sources: Sequence[SourceInfo] = ()
    rejects: Sequence[Reject] = ()
    rejects_file: str | None = None
    unchanged: bool = False
    resumed_at: int = 0
    rejected_before: int = 0
    destinations: Mapping[str, DestinationProgress] = attrs.field(factory=dict)
    expected_seconds: Mapping[str, float] = attrs.field(factory=dict)
    dry_run: bool = False
    stopped: str = ""
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all rows were accepted or skipped on purpose, and no destination refused any."""
        dead = any(destination.dead for destination in self.destinations.values())
        rejected = self.counts.rejected or self.rejected_before
        return not rejected and not dead and not self.stopped
