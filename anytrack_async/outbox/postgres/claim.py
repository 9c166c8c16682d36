"""Claims on an outbox in PostgreSQL: taking and decoding them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from operator import itemgetter
from secrets import randbits
from typing import Any

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.codec.remote_ids import (
    PackedIds,
)
from anytrack_async.codec.storage import (
    decode,
)
from anytrack_async.errors import DamagedOutboxError, DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Claim, Entries, FailedEntry
from anytrack_async.outbox.postgres.encryption import RowCipher
from anytrack_async.outbox.postgres.errors import storable

DECODED_AT_ONCE = 50
"""Conversions decoded before other tasks may run: about a millisecond."""

_BYTES_AT_ONCE = 2**17
"""Bytes of large conversions from which on fewer are decoded at once."""

CACHED_BYTES = 4_096
"""Bytes of a record up to which its conversion is kept in the cache."""


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


class ConversionCache:
    """Decodes conversions, which *cipher* decrypts, and keeps about the newest *size*.

    It finds them by their digest, not by their position: after a failover to a replica, positions
    may be given anew.
    """

    # Two dicts, because one costs more for each conversion that it drops: once the newer one has
    # half of them, the older one is dropped as a whole.
    def __init__(self, size: int, cipher: RowCipher) -> None:
        self._half = max(1, size // 2)
        self._cipher = cipher
        self._newer: dict[bytes, Conversion] = {}
        self._older: dict[bytes, Conversion] = {}

    def remember(self, conversions: Sequence[Conversion], digests: Sequence[bytes]) -> None:
        """Keep *conversions*, which have these digests."""
        self._newer.update(zip(digests, conversions, strict=True))
        if len(self._newer) >= self._half:
            self._older, self._newer = self._newer, {}

    def clear(self) -> None:
        """Drop all conversions."""
        self._newer, self._older = {}, {}

    def find(self, digests: Sequence[bytes]) -> list[Conversion | None]:
        """Return the conversions with these digests; None for each that is not in the cache."""
        cached: list[Conversion | None] = [*map(self._newer.get, digests)]
        if not all(cached):
            pairs = zip(cached, digests, strict=True)
            cached = [conversion or self._older.get(digest) for conversion, digest in pairs]
        return cached

    def decode(self, payload: bytes, digest: bytes) -> Conversion:
        """Return the conversion with the record *payload*.

        Raises:
            DecodeError: it is not in the cache, and the record cannot be read.
            MissingKeyError: it is encrypted with a key that the program does not have.
        """
        (conversion,) = self.find((digest,))
        if conversion is None:
            conversion = self.read(payload, digest)
            if len(payload) <= CACHED_BYTES:
                self.remember((conversion,), (digest,))
        return conversion

    def read(self, payload: bytes, digest: bytes) -> Conversion:
        """Do the same as `decode`, without the cache."""
        return decode(*self._cipher.open_record(payload, digest))

    def decode_many(
        self, payloads: Sequence[bytes], digests: Sequence[bytes]
    ) -> list[Conversion | DecodeError]:
        """Return the conversion with each of the records, or why it cannot be read.

        Raises:
            MissingKeyError: one is encrypted with a key that the program does not have.
        """
        decoded: list[Conversion | DecodeError] = []
        new: dict[bytes, Conversion] = {}
        for conversion, payload, digest in zip(self.find(digests), payloads, digests, strict=True):
            if conversion is not None:
                decoded.append(conversion)
                continue
            try:
                decoded.append(conversion := self.read(payload, digest))
            except DecodeError as exc:
                decoded.append(exc)
                continue
            if len(payload) <= CACHED_BYTES:
                new[digest] = conversion
        self.remember([*new.values()], [*new])
        return decoded


class _Ranges:
    """The ranges of positions in a claim, with what is known about the conversions of each."""

    def __init__(self, row: Any) -> None:
        columns = zip(row["firsts"], row["lasts"], row["attempts"], row["lost"], strict=True)
        self._ranges = sorted(columns)

    @property
    def firsts(self) -> list[int]:
        return [first for first, *_ in self._ranges]

    @property
    def lasts(self) -> list[int]:
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


def ranges_of(row: Any) -> _Ranges:
    """Return the ranges in the answer of ``claim_v1``."""
    return _Ranges(row)


async def decode_claim(
    name: str,
    lease_id: int,
    row: Any,
    ranges: _Ranges,
    rows: Sequence[Any],
    shift: float,
    cache: ConversionCache,
) -> PostgresClaim:
    """Return a claim with its entries decoded; other tasks may run in between.

    Args:
        name: the destination.
        lease_id: the lease.
        row: the answer of ``claim_v1``.
        ranges: its ranges.
        rows: the records of these: position, time of acceptance, payload and digest.
        shift: seconds by which the caller's clock is ahead of the outbox's.
        cache: decodes the records.

    Raises:
        DamagedOutboxError: records are missing.
    """
    if not rows:
        raise DamagedOutboxError(
            f"the outbox is damaged: conversions that are to be delivered to {name!r} are missing "
            "from its log"
        )
    rows = sorted(rows, key=itemgetter(0))
    seqs, times, payloads, digests = zip(*rows, strict=True)
    attempts, lost_leases = ranges.columns_of(seqs)
    decoded = await _decode_in_steps(payloads, digests, row["large_bytes"], cache)
    accepted_at = [accepted + shift for accepted in times]
    entries, unreadable = _entries_of(seqs, decoded, attempts, accepted_at)
    return PostgresClaim(
        destination=name,
        lease_id=lease_id,
        entries=entries,
        lost_leases=lost_leases,
        large_bytes=row["large_bytes"],
        unreadable=unreadable,
        ranges=ranges.with_attempts,
    )


async def _decode_in_steps(
    payloads: Sequence[bytes], digests: Sequence[bytes], large_bytes: int, cache: ConversionCache
) -> list[Any]:
    """Return what `ConversionCache.decode_many` does; other tasks may run in between."""
    # 50 at once, 12 of a claim with 512 KiB of large ones, one of a claim with 6 MiB.
    at_once = max(1, DECODED_AT_ONCE * _BYTES_AT_ONCE // max(large_bytes, _BYTES_AT_ONCE))
    decoded: list[Any] = []
    for start in range(0, len(payloads), at_once):
        end = start + at_once
        cached = cache.find(digests[start:end])
        if all(cached):
            decoded += cached
        else:
            decoded += cache.decode_many(payloads[start:end], digests[start:end])
            await checkpoint()
    return decoded


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
