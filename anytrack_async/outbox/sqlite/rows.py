"""The rows that `append` inserts into an outbox file, encoded from conversions.

The column values of many rows are one flat list per table, so that a statement can insert many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import digest_of, record_of
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.checks import check_append_bytes, check_destination
from anytrack_async.outbox.sqlite.queries import log as queries

ENCODED_AT_ONCE = 50
"""Conversions encoded before other tasks may run: a fraction of a millisecond."""

_BYTES_AT_ONCE = 2**18
"""Bytes of records after which other tasks may run too, however few conversions they are."""

_IDS_WIDTH = len(queries.IDS_COLUMNS)
_WIDTH = len(queries.LOG_COLUMNS)
_RECIPIENTS = queries.LOG_COLUMNS.index("destinations")
_DIGEST = queries.LOG_COLUMNS.index("digest")
_PAYLOAD = queries.LOG_COLUMNS.index("payload")


class Rows(NamedTuple):
    """Rows for both tables, each as one flat list of the values of its columns.

    Two lists, because SQLite copies each value that is bound to a statement: with one list for both
    statements, each would get all values.

    Attributes:
        ids: values of `IDS_COLUMNS`.
        log: values of `LOG_COLUMNS`.
    """

    ids: list[object]
    log: list[object]

    def part(self, start: int, stop: int) -> Rows:
        """Return the rows from *start* to *stop*."""
        return Rows(
            self.ids[start * _IDS_WIDTH : stop * _IDS_WIDTH],
            self.log[start * _WIDTH : stop * _WIDTH],
        )

    def size(self) -> int:
        """Return how many rows there are."""
        return len(self.log) // _WIDTH

    def payload_bytes(self) -> int:
        """Return the bytes of all records."""
        return sum(map(len, cast("list[bytes]", self.log[_PAYLOAD::_WIDTH])))

    def digests(self) -> list[Any]:
        """Return the digest of each record."""
        return self.log[_DIGEST::_WIDTH]

    def recipients(self) -> str | None:
        """Return the column ``destinations`` of the first row; None if there is no row."""
        return cast("str | None", self.log[_RECIPIENTS] if self.log else None)

    def truncate(self, count: int) -> None:
        """Remove all rows but the first *count*."""
        del self.ids[count * _IDS_WIDTH :]
        del self.log[count * _WIDTH :]

    def remove(self, start: int, stop: int) -> None:
        """Remove the rows from *start* to *stop*."""
        del self.ids[start * _IDS_WIDTH : stop * _IDS_WIDTH]
        del self.log[start * _WIDTH : stop * _WIDTH]


async def encode_in_steps(
    conversions: Sequence[Conversion], destinations: Sequence[str] | None, accepted_at: float
) -> Rows:
    """Return the rows of many conversions; other tasks may run in between.

    Raises:
        UnsendableError: all together they have more than `MAX_APPEND_BYTES`.
    """
    rows, size = Rows([], []), 0
    recipients, count = recipients_column(destinations), 0
    while count < len(conversions):
        if count:
            await checkpoint()
        part = conversions[count : count + ENCODED_AT_ONCE]
        size += add_rows(rows, part, recipients, accepted_at, max_bytes=_BYTES_AT_ONCE)
        count = rows.size()
        check_append_bytes(size, count, len(conversions))
    return rows


def add_rows(
    rows: Rows,
    conversions: Sequence[Conversion],
    recipients: str | None,
    accepted_at: float,
    max_bytes: float = math.inf,
) -> int:
    """Extend *rows* by a row for each conversion; some may be added before it raises.

    Returns:
        The bytes of their records. The first conversion that exceeds *max_bytes* is the last.
    """
    ids, log = rows
    size = 0
    for conversion in conversions:
        payload = record_of(conversion)
        digest = digest_of(payload)
        # The function `summary` would take a third longer.
        summary = f"{conversion.conversion_type} {conversion.revenue!s} {conversion.currency}"
        ids += (conversion.event_id, summary, recipients)
        # For each `bytes`, sqlite3 would look for an adapter, which takes longer than the copies.
        log += (bytearray(digest), bytearray(payload), accepted_at, recipients)
        size += len(payload)
        if size > max_bytes:
            break
    return size


def recipients_column(destinations: Sequence[str] | None) -> str | None:
    r"""Return the column ``destinations``: ["a", "b"] gives "\na\nb\n", None is for all."""
    return None if destinations is None else _joined(tuple(destinations))


@lru_cache(maxsize=64)
def _joined(names: tuple[str, ...]) -> str:
    return "\n" + "".join(f"{check_destination(name)}\n" for name in names)
