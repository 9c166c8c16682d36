"""Handing out what is in an outbox file: one claim."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import attrs

from anytrack_async.errors import OutboxError
from anytrack_async.outbox.base import unknown_destination_error
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.leases import give_back

_STRIDE = 20_000
"""Places that one transaction looks through for conversions meant for a destination."""

_RANGE = (
    "SELECT seq, at, payload, digest, ? FROM log WHERE seq >= ? AND seq <= ?"
    " AND (destinations IS NULL OR instr(destinations, ?)) ORDER BY seq LIMIT ?"
)


class Found(NamedTuple):
    """A conversion in a claim, still encoded.

    Attributes:
        seq: its place in the log.
        accepted_at: unix seconds.
        payload: the conversion, encoded.
        digest: of its content.
        attempts: how often the destination tried it before.
    """

    seq: int
    accepted_at: float
    payload: bytes
    digest: bytes
    attempts: int


@attrs.frozen(kw_only=True)
class Taken:
    """What a claim found.

    Attributes:
        lease_id: names the lease; 0 when nothing was found.
        found: what was found, in log order.
        next_due: with nothing found, when to look again, unix seconds.
    """

    lease_id: int = 0
    found: Sequence[Found] = ()
    next_due: float | None = None


class _Outlook(NamedTuple):
    cursor: int
    end: int
    next_due: float | None

    def has_work(self, now: float) -> bool:
        """Tell whether something is due, or lies beyond the cursor."""
        return self.cursor < self.end or (self.next_due is not None and self.next_due <= now)


def claim(db: Database, name: str, limit: int, lease: float) -> Taken:
    """Lease up to *limit* conversions; see `Outbox.claim`.

    Raises:
        OutboxError: no such destination, or the file is damaged.
    """
    outlook, now = _outlook(db.sql, name), db.clock()
    # An idle lane that only looks does not lock anybody out.
    while limit > 0 and outlook.has_work(now):
        with db.transaction(synced=False) as sql:
            lease_id, found = _Taking(sql, name, limit, now).collect(now + lease)
        if found:
            return Taken(lease_id=lease_id, found=sorted(found))
        before, outlook = outlook, _outlook(db.sql, name)
        if outlook == before:
            raise _damaged()
    return Taken(next_due=outlook.next_due)


def _damaged() -> OutboxError:
    return OutboxError("the outbox file is damaged: it names conversions that it has not")


def _outlook(sql: sqlite3.Connection, name: str) -> _Outlook:
    row = sql.execute(
        "SELECT cursor, coalesce((SELECT max(seq) FROM log), 0),"
        " (SELECT min(due) FROM exception WHERE destination = ?1 AND due IS NOT NULL"
        "  AND lease = 0),"
        " (SELECT min(due) FROM span WHERE destination = ?1 AND lease = 0),"
        " (SELECT min(until) FROM lease WHERE destination = ?1)"
        " FROM destination WHERE name = ?1",
        (name,),
    ).fetchone()
    if row is None:
        raise unknown_destination_error(name)
    cursor, end, *moments = row
    return _Outlook(cursor, end, min((at for at in moments if at is not None), default=None))


class _Taking:
    """One claim, inside its transaction."""

    def __init__(self, sql: sqlite3.Connection, name: str, limit: int, now: float) -> None:
        self._sql = sql
        self._name = name
        self._limit = limit
        self._now = now
        self._found: list[Found] = []
        self._lease_id = 0

    @property
    def _room(self) -> int:
        return self._limit - len(self._found)

    def collect(self, until: float) -> tuple[int, list[Found]]:
        """Take what is due again, then what lost its worker, then the log beyond the cursor."""
        lease = "INSERT INTO lease (destination, until) VALUES (?, ?)"
        self._lease_id = self._sql.execute(lease, (self._name, until)).lastrowid or 0
        while True:
            self._retries()
            self._released()
            if self._room <= 0 or not self._expire_one():
                break
        if self._room > 0:
            self._new()
        if not self._found:
            self._sql.execute("DELETE FROM lease WHERE id = ?", (self._lease_id,))
        return self._lease_id, self._found

    def _retries(self) -> None:
        rows = self._sql.execute(
            "SELECT seq, at, payload, digest, attempts FROM"
            " (SELECT seq AS place, attempts FROM exception"
            " WHERE destination = ? AND due <= ? AND lease = 0 ORDER BY due, seq LIMIT ?)"
            " JOIN log ON seq = place",
            (self._name, self._now, self._room),
        ).fetchall()
        self._found += map(Found._make, rows)
        self._sql.executemany(
            "UPDATE exception SET lease = ? WHERE seq = ? AND destination = ?",
            [(self._lease_id, row[0], self._name) for row in rows],
        )

    def _released(self) -> None:
        spans = self._sql.execute(
            "SELECT id, first, last, size, attempts FROM span"
            " WHERE destination = ? AND lease = 0 AND due <= ? ORDER BY first",
            (self._name, self._now),
        ).fetchall()
        for span in spans:
            if self._room <= 0:
                return
            self._take_span(*span)

    def _take_span(self, span: int, first: int, last: int, size: int, attempts: int) -> None:
        found = self._range(first, last, attempts)
        self._found += found
        if not found:
            raise _damaged()
        if len(found) < size:
            taken = found[-1].seq
            self._sql.execute(
                "UPDATE span SET first = ?, size = size - ? WHERE id = ?",
                (taken + 1, len(found), span),
            )
            self._lease_span(first, taken, len(found), attempts)
        else:
            self._sql.execute("UPDATE span SET lease = ? WHERE id = ?", (self._lease_id, span))

    def _new(self) -> None:
        cursor, end, _ = _outlook(self._sql, self._name)
        last = min(cursor + _STRIDE, end)
        found = self._range(cursor + 1, last, 0)
        if self._room == len(found):
            last = found[-1].seq
        if found:
            self._lease_span(found[0].seq, found[-1].seq, len(found), 0)
        if last > cursor:
            self._sql.execute(
                "UPDATE destination SET cursor = ? WHERE name = ?", (last, self._name)
            )
        self._found += found

    def _range(self, first: int, last: int, attempts: int) -> list[Found]:
        mask = f"\n{self._name}\n"
        rows = self._sql.execute(_RANGE, (attempts, first, last, mask, self._room))
        return [Found._make(row) for row in rows]

    def _lease_span(self, first: int, last: int, size: int, attempts: int) -> None:
        self._sql.execute(
            "INSERT INTO span (destination, first, last, size, attempts, lease)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (self._name, first, last, size, attempts, self._lease_id),
        )

    def _expire_one(self) -> bool:
        """Release the lease that ended first, if one did: its worker may have died of it."""
        lost = self._sql.execute(
            "SELECT id, until FROM lease WHERE destination = ? AND until <= ?"
            " ORDER BY until LIMIT 1",
            (self._name, self._now),
        ).fetchone()
        if lost:
            give_back(self._sql, lost[0], due=lost[1], counts_as_attempt=True)
        return lost is not None
