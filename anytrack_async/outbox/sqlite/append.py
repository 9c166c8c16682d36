"""What several calls append to the log of an outbox file in one transaction: `Batch`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import attrs

from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, queue_full_error
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.retention import end_of_log, pruned_upto
from anytrack_async.outbox.sqlite.rows import COLUMNS, WIDTH, add_rows


def _insertion(rows: int) -> str:
    row = f"({', '.join('?' * WIDTH)})"
    return (
        f"INSERT INTO log ({', '.join(COLUMNS)}) VALUES {', '.join([row] * rows)}"  # noqa: S608
        " ON CONFLICT (event_id) DO NOTHING"
    )


# Between any two steps the thread has to ask for the interpreter back, which a busy event loop may
# keep for milliseconds. So there are few steps, of as many rows as there are.
_INSERTIONS = [(rows * WIDTH, _insertion(rows)) for rows in (64, 8, 1)]


@attrs.define
class Batch:
    """What several calls append in one transaction, and what became of it.

    Attributes:
        conversions: what they bring, but for calls that were refused before.
        values: the rows of these, see `add_rows`.
        sizes: how many rows each call has.
        known: an answer per row; None if all are new.
        refused: the number of a call → why nothing of it was taken.
    """

    conversions: list[Conversion] = attrs.field(factory=list)
    values: list[object] = attrs.field(factory=list)
    sizes: list[int] = attrs.field(factory=list)
    known: list[Appended] | None = None
    refused: dict[int, Exception] = attrs.field(factory=dict)

    def encode(self, conversions: Sequence[Conversion], mask: str | None, at: float) -> None:
        """Add a call that brings *conversions*, and their rows; see `add_rows`."""
        add_rows(self.values, conversions, mask, at)
        self._note(conversions)

    def add(self, conversions: Sequence[Conversion], values: Sequence[object]) -> None:
        """Add a call that brings *conversions*, of which *values* are the rows."""
        self.values += values
        self._note(conversions)

    def _note(self, conversions: Sequence[Conversion]) -> None:
        self.conversions += conversions
        self.sizes.append(len(conversions))

    def refuse(self, error: Exception) -> None:
        """Add a call of which nothing can be taken, though it may have left rows."""
        del self.values[len(self.conversions) * WIDTH :]
        self.refused[len(self.sizes)] = error
        self.sizes.append(0)

    def new(self) -> Sequence[Conversion]:
        """Return what was new, in the order in which it is in the log."""
        if self.known is None:
            return self.conversions
        pairs = zip(self.conversions, self.known, strict=True)
        return [conversion for conversion, answer in pairs if answer is Appended.NEW]

    def answers(self) -> list[Sequence[Appended] | Exception]:
        """Return for each call what became of its rows, or why it was refused."""
        answers: list[Sequence[Appended] | Exception] = []
        at = 0
        for size in self.sizes:
            answers.append(
                [Appended.NEW] * size if self.known is None else self.known[at : at + size]
            )
            at += size
        for number, error in self.refused.items():
            answers[number] = error
        return answers


def append(db: Database, batch: Batch, capacity: int) -> int:
    """Write *batch* in one transaction, on the disk when this returns.

    Returns:
        The place of the first new row; the other new ones follow it.
    """
    with db.transaction(synced=True) as sql:
        end = end_of_log(sql)
        waiting, slowest = _backlog(sql, end)
        if waiting + sum(batch.sizes) <= capacity:
            batch.known = _insert(sql, batch.values, end)
        else:
            batch.known = _insert_what_fits(sql, batch, end, waiting, slowest, capacity)
    return end + 1


def _insert(sql: sqlite3.Connection, values: list[object], end: int) -> list[Appended] | None:
    """Insert the rows in *values* behind *end*; return None if all are new, else the answers."""
    at = added = 0
    for step, statement in _INSERTIONS:
        while at + step <= len(values):
            added += max(sql.execute(statement, values[at : at + step]).rowcount, 0)
            at += step
    return None if added * WIDTH == len(values) else _answers(sql, values, end)


def _answers(sql: sqlite3.Connection, values: list[object], end: int) -> list[Appended]:
    """Tell new rows from repeats, given that the log ended at *end* before them."""
    answers = []
    for event_id, digest in zip(values[::WIDTH], values[1::WIDTH], strict=True):
        seq, known = sql.execute(
            "SELECT seq, digest FROM log WHERE event_id = ?", (event_id,)
        ).fetchone()
        if seq == end + 1:
            end += 1
            answers.append(Appended.NEW)
        else:
            answers.append(Appended.REPEAT if known == digest else Appended.CONFLICT)
    return answers


def _insert_what_fits(
    sql: sqlite3.Connection, batch: Batch, end: int, waiting: int, slowest: str, capacity: int
) -> list[Appended]:
    """Insert call by call, and nothing of a call for which there is no room."""
    answers: list[Appended] = []
    for number, size in enumerate(batch.sizes):
        at = len(answers)
        sql.execute("SAVEPOINT call")
        values = batch.values[at * WIDTH : (at + size) * WIDTH]
        some = _insert(sql, values, end) or [Appended.NEW] * size
        added = some.count(Appended.NEW)
        if added and waiting + added > capacity:
            sql.execute("ROLLBACK TO call")
            batch.refused[number] = queue_full_error(capacity, waiting, slowest, added)
            some, added = [Appended.CONFLICT] * size, 0  # not taken
        sql.execute("RELEASE call")
        waiting, end = waiting + added, end + added
        answers += some
    return answers


def _backlog(sql: sqlite3.Connection, end: int) -> tuple[int, str]:
    """Return how many wait for the slowest destination, and its name."""
    row = sql.execute(
        "SELECT ? - cursor + pending + (SELECT coalesce(sum(size), 0) FROM span"
        " WHERE destination = name) AS waiting, name FROM destination"
        " ORDER BY waiting DESC LIMIT 1",
        (end,),
    ).fetchone()
    if row:
        return row[0], row[1]
    return end - pruned_upto(sql), ""
