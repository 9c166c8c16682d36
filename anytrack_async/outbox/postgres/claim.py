"""Claims on an outbox in PostgreSQL: their ranges, their entries, and the columns of results."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from secrets import randbits
from typing import Any

import attrs

from anytrack_async.codec.remote_ids import PackedIds
from anytrack_async.errors import DecodeError
from anytrack_async.outbox.base import Claim, Entries, FailedEntry
from anytrack_async.outbox.postgres.encryption import RowCipher
from anytrack_async.outbox.postgres.errors import storable
from anytrack_async.outbox.postgres.reading import Records


def new_lease_id() -> int:
    """Return a random id of a lease or an outbox object, from 1 to 2^63 - 1.

    A number of a sequence would not do: after a crash PostgreSQL gives the newest ones out again,
    and a worker that wakes up late would end the lease of another.
    """
    return randbits(63) or 1


@attrs.frozen(kw_only=True)
class PostgresClaim(Claim):
    """A claim as `PostgresOutbox` returns it.

    Attributes:
        unreadable: records in the lease that cannot be decoded. They are not in `entries`, and
            become dead letters when the claim is settled.
        ranges: first and last position and attempts of each range in the lease.
    """

    unreadable: Sequence[FailedEntry] = ()
    ranges: Sequence[tuple[int, int, int]] = ()


class Ranges:
    """The ranges of positions in a claim, with attempts and lost leases of each.

    Args:
        row: the answer of ``claim_v1``.
    """

    def __init__(self, row: Any) -> None:
        columns = zip(row["firsts"], row["lasts"], row["attempts"], row["lost"], strict=True)
        self._ranges = sorted(columns)

    @property
    def firsts(self) -> list[int]:
        """The first position of each."""
        return [first for first, *_ in self._ranges]

    @property
    def lasts(self) -> list[int]:
        """The last position of each."""
        return [last for _, last, *_ in self._ranges]

    @property
    def with_attempts(self) -> list[tuple[int, int, int]]:
        """First and last position and attempts of each."""
        return [(first, last, attempts) for first, last, attempts, _ in self._ranges]

    def columns_of(self, seqs: Sequence[int]) -> tuple[list[int], dict[int, int]]:
        """Return the attempts of each of *seqs*, which ascend, and their lost leases."""
        if len(self._ranges) == 1:  # nearly always
            _, _, attempts, lost = self._ranges[0]
            return [attempts] * len(seqs), dict.fromkeys(seqs, lost) if lost else {}
        ranges = iter(self._ranges)
        _, last, attempts, lost = next(ranges)
        column: list[int] = []
        lost_leases: dict[int, int] = {}
        for seq in seqs:
            while seq > last:
                _, last, attempts, lost = next(ranges)
            column.append(attempts)
            if lost:
                lost_leases[seq] = lost
        return column, lost_leases


def to_claim(
    name: str, lease_id: int, row: Any, ranges: Ranges, records: Records, shift: float
) -> PostgresClaim:
    """Return a claim.

    Args:
        name: the destination.
        lease_id: the lease.
        row: the answer of ``claim_v1``.
        ranges: its ranges.
        records: the conversions in these.
        shift: seconds by which the caller's clock is ahead of the outbox's.
    """
    attempts, lost_leases = ranges.columns_of(records.seqs)
    accepted_at = [accepted + shift for accepted in records.times]
    entries, unreadable = _entries_of(records.seqs, records.decoded, attempts, accepted_at)
    return PostgresClaim(
        destination=name,
        lease_id=lease_id,
        entries=entries,
        lost_leases=lost_leases,
        large_bytes=row["large_bytes"],
        unreadable=unreadable,
        ranges=ranges.with_attempts,
    )


def _entries_of(
    seqs: Sequence[int],
    decoded: Sequence[Any],
    attempts: Sequence[int],
    accepted_at: Sequence[float],
) -> tuple[Entries, list[FailedEntry]]:
    """Return the entries with a conversion, and those with a `DecodeError`."""
    unreadable = [
        FailedEntry(seq=seq, attempts=attempt, error=str(problem))
        for seq, attempt, problem in zip(seqs, attempts, decoded, strict=True)
        if isinstance(problem, DecodeError)
    ]
    columns: Sequence[Sequence[Any]] = (seqs, decoded, attempts, accepted_at)
    if unreadable:
        are_readable = [not isinstance(item, DecodeError) for item in decoded]
        columns = [[*compress(column, are_readable)] for column in columns]
    names = ("seqs", "conversions", "attempts", "accepted_at")
    return Entries(**dict(zip(names, columns, strict=True))), unreadable


def failure_columns(
    destination: str, failures: Sequence[FailedEntry], cipher: RowCipher
) -> tuple[Sequence[object], ...]:
    """Return failures as arrays: positions, attempts, due times, reasons, codes and
    the status of each response.
    """
    return (
        [entry.seq for entry in failures],
        [entry.attempts for entry in failures],
        [entry.due for entry in failures],
        [cipher.seal_error(entry.seq, destination, entry.error) for entry in failures],
        [None if entry.code is None else storable(entry.code) for entry in failures],
        [entry.http_status for entry in failures],
    )


def pack_columns(packs: Sequence[PackedIds]) -> tuple[Sequence[object], ...]:
    """Return the ids that a destination gave as arrays: last and first position, and the ids."""
    return (
        [pack.last for pack in packs],
        [pack.first for pack in packs],
        [pack.packed for pack in packs],
    )
