"""Compares AnyTrack's conversions with those that an outbox delivered to it, in flat memory.

AnyTrack's conversions are kept in a temporary database while the outbox's are read: by AnyTrack's
id, which the outbox remembers, or by the event id where AnyTrack returns it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial

import attrs
from anyio import to_thread

from anytrack_async.client.reads import Reads
from anytrack_async.destinations.anytrack.api.base import DateRange, TimeRange
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.contradiction import summary
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsTime, ListsAccepted

_PAGE = 1_000

# All SQL of this module. A database without a name is a temporary file, which SQLite removes.
_CREATE = """CREATE TABLE remote (id TEXT PRIMARY KEY, event_id TEXT NOT NULL,
    summary TEXT NOT NULL, at TEXT NOT NULL, inside INTEGER NOT NULL,
    matched INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX remote_event ON remote(event_id)"""
_ADD = "INSERT OR IGNORE INTO remote (id, event_id, summary, at, inside) VALUES (?, ?, ?, ?, ?)"
_MATCH = "UPDATE remote SET matched = 1 WHERE id = ? OR event_id = ?"
_UNMATCHED = """SELECT id, event_id, summary, at FROM remote WHERE inside AND NOT matched
    AND id > ? ORDER BY id LIMIT ?"""
_COUNTS = "SELECT coalesce(sum(inside), 0), coalesce(sum(inside AND matched), 0) FROM remote"


@attrs.frozen(kw_only=True)
class Difference:
    """A conversion that only one side has.

    Attributes:
        side: ``"anytrack"`` or ``"outbox"``: which of them has it.
        event_id: the event id; of AnyTrack's conversions only if AnyTrack returns it.
        conversion_id: AnyTrack's id, if it is known.
        detail: type, amount, currency and time; or the status of the conversion in the outbox.
    """

    side: str
    event_id: str | None = None
    conversion_id: str | None = None
    detail: str = ""


@attrs.define(kw_only=True)
class Reconciliation:
    """The numbers of a comparison, complete once all differences were taken.

    Attributes:
        anytrack: conversions that AnyTrack has in the period.
        both: the part of `anytrack` that the outbox delivered.
        only_anytrack: the part of `anytrack` that the outbox did not deliver, as far as it knows.
        only_outbox: conversions that the outbox delivered and AnyTrack does not have.
        forgotten: the part of `anytrack` with ids that the outbox has forgotten: whether it
            delivered them is unknown.
        searched: first and last moment in which AnyTrack's conversions were searched, UTC.
    """

    anytrack: int = 0
    both: int = 0
    only_anytrack: int = 0
    only_outbox: int = 0
    forgotten: int = 0
    searched: tuple[datetime, datetime] | None = None

    @property
    def differs(self) -> bool:
        """Whether only one side has some conversion."""
        return bool(self.only_anytrack or self.only_outbox)


async def reconcile(
    client: Reads,
    outbox: Outbox,
    date_range: DateRange | None,
    result: Reconciliation,
    margin: timedelta,
) -> AsyncGenerator[Difference, None]:
    """Yield the conversions that only one side has, first the outbox's.

    Args:
        client: reads from AnyTrack.
        outbox: an open outbox.
        date_range: first and last moment of the conversions, both included.
        result: gets the numbers.
        margin: a conversion that the outbox accepted in the period may have happened so much
            before or after it.

    Raises:
        ConfigurationError: the outbox cannot list the conversions that it accepted.
    """
    if not isinstance(outbox, ListsAccepted):
        raise ConfigurationError("this outbox does not list what it accepted: it cannot compare")
    period = TimeRange.from_argument(date_range)
    remote = await to_thread.run_sync(_Remote)
    try:
        await _read_anytrack(client, period, margin, remote, result)
        result.forgotten = await outbox.forgotten()
        async for difference in _outbox_only(outbox, outbox, period, remote):
            result.only_outbox += 1
            yield difference
        result.anytrack, result.both = await to_thread.run_sync(remote.counts)
        result.only_anytrack = result.anytrack - result.both
        after = ""
        while page := await to_thread.run_sync(remote.unmatched, after):
            for conversion_id, event_id, text, timestamp in page:
                yield _anytrack_only(conversion_id, event_id, f"{text}, {timestamp}")
            after = page[-1][0]
    finally:
        remote.close()


class _Remote:
    """The conversions that AnyTrack has; the methods block."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2048"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(_CREATE)

    def add(self, conversions: Sequence[Conversion], period: TimeRange) -> None:
        rows = [
            (
                row.id or row.event_id,
                row.event_id,
                summary(row),
                row.timestamp.isoformat(),
                period.start <= row.timestamp <= period.end,
            )
            for row in conversions
        ]
        self._in_transaction(_ADD, rows)

    def match(self, pairs: Iterable[tuple[str | None, str]]) -> list[bool]:
        """Return for each AnyTrack id and event id whether AnyTrack has it."""
        self._database.execute("BEGIN")
        matches = [self._database.execute(_MATCH, pair).rowcount > 0 for pair in pairs]
        self._database.execute("COMMIT")
        return matches

    def unmatched(self, after: str) -> list[tuple[str, str, str, str]]:
        return self._database.execute(_UNMATCHED, (after, _PAGE)).fetchall()

    def counts(self) -> tuple[int, int]:
        inside, matched = self._database.execute(_COUNTS).fetchone()
        return inside, matched

    def close(self) -> None:
        self._database.close()

    def _in_transaction(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")


async def _read_anytrack(
    client: Reads, period: TimeRange, margin: timedelta, remote: _Remote, result: Reconciliation
) -> None:
    result.searched = (period.start - margin, period.end + margin)
    page: list[Conversion] = []
    async with aclosing(client.stream_conversions(result.searched)) as conversions:
        async for conversion in conversions:
            page.append(conversion)
            if len(page) == _PAGE:
                await to_thread.run_sync(remote.add, page, period)
                page = []
    await to_thread.run_sync(remote.add, page, period)


async def _outbox_only(
    outbox: Outbox, lists: ListsAccepted, period: TimeRange, remote: _Remote
) -> AsyncGenerator[Difference, None]:
    """Match all conversions accepted since the period began; yield the unmatched ones in it."""
    since, until = (_on_clock(outbox, moment) for moment in (period.start, period.end))
    last = await _last_position(lists, since, until)
    after = 0
    while page := await lists.accepted(since=since, after=after, limit=_PAGE):
        after = page[-1][0]
        deliveries = await _deliveries(outbox, page)
        pairs = [(remote_id, event_id) for _, event_id, remote_id in deliveries]
        matches = await to_thread.run_sync(partial(remote.match, pairs))
        for (seq, event_id, remote_id), is_there in zip(deliveries, matches, strict=True):
            if not is_there and seq <= last:
                yield Difference(
                    side="outbox",
                    event_id=event_id,
                    conversion_id=remote_id,
                    detail="delivered to AnyTrack",
                )


async def _deliveries(
    outbox: Outbox, page: Sequence[tuple[int, str]]
) -> list[tuple[int, str, str | None]]:
    """Return sequence number, event id and AnyTrack's id of the delivered conversions of *page*."""
    reports = await outbox.reports([event_id for _, event_id in page])
    return [
        (seq, event_id, _remote_id(reports[event_id]))
        for seq, event_id in page
        if event_id in reports and _is_delivered(reports[event_id])
    ]


async def _last_position(lists: ListsAccepted, since: float, until: float) -> int:
    after = 0
    while page := await lists.accepted(since=since, until=until, after=after, limit=_PAGE):
        after = page[-1][0]
    return after


def _on_clock(outbox: Outbox, moment: datetime) -> float:
    """Return *moment* in unix seconds on the outbox's clock."""
    seconds = moment.timestamp()
    if not isinstance(outbox, KeepsTime):
        return seconds
    return seconds + outbox.now() - datetime.now(moment.tzinfo).timestamp()


def _is_delivered(report: Report) -> bool:
    outcome = report.outcomes.get(ANYTRACK)
    return outcome is not None and outcome.status is Status.DELIVERED


def _remote_id(report: Report) -> str | None:
    return report.outcomes[ANYTRACK].remote_id


def _anytrack_only(conversion_id: str, event_id: str, detail: str) -> Difference:
    is_own = not event_id.startswith(f"{ANYTRACK}:")  # else it was made of AnyTrack's id
    return Difference(
        side=ANYTRACK,
        event_id=event_id if is_own else None,
        conversion_id=conversion_id,
        detail=detail,
    )
