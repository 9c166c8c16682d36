"""Reading conversions from PostgreSQL: `ConversionCache`, and the records of a claim.

Lanes follow each other through the log. The first one reads the records of a range and decodes
them; the others find the conversions in the cache, and read no more than their digests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast

import anyio
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DamagedOutboxError, DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.database import Database
from anytrack_async.outbox.postgres.encryption import RowCipher

DECODED_AT_ONCE = 50
"""Conversions decoded before other tasks may run: about a millisecond."""

_BYTES_AT_ONCE = 2**17
"""Bytes of large conversions from which on fewer are decoded at once."""

CACHED_BYTES = 4_096
"""Bytes of a record up to which its conversion is kept in the cache."""


class ConversionCache:
    """Decodes conversions, which *cipher* decrypts, and keeps about the newest *size*.

    It finds them by their digest, not by their position: after a failover to a replica, positions
    may be given anew.
    """

    # Two dicts, because one costs more for each conversion that it drops: once the newer one has
    # half of them, the older one is dropped as a whole.
    def __init__(self, size: int, cipher: RowCipher) -> None:
        self.size = size
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


class Records(NamedTuple):
    """The conversions of a claim, as columns in the order of their positions.

    Attributes:
        seqs: positions.
        times: when each was accepted, unix seconds on the clock of the outbox.
        decoded: the conversions; a `DecodeError` for each that cannot be read.
    """

    seqs: Sequence[int]
    times: Sequence[float]
    decoded: Sequence[Conversion | DecodeError]


class _Reading(NamedTuple):
    """A range of positions that a lane is reading."""

    first: int
    last: int
    over: anyio.Event


class RecordReader:
    """Reads the conversions of claims, each only once for all lanes.

    Lanes that work off a backlog claim the same ranges at about the same time. A lane whose range
    another one is reading waits for that one, and finds the conversions in the cache then.

    Args:
        db: the database.
        cache: of the conversions.
        know_keys: called with encrypted records before they are decrypted.
    """

    def __init__(
        self,
        db: Database,
        cache: ConversionCache,
        know_keys: Callable[[Iterable[bytes]], Awaitable[None]],
    ) -> None:
        self._db = db
        self._cache = cache
        self._know_keys = know_keys
        self._readings: list[_Reading] = []
        self._last_read = 0  # the greatest position that a lane has read
        self._followers: set[str] = set()  # destinations whose last claim was in the cache

    async def read(
        self, name: str, firsts: Sequence[int], lasts: Sequence[int], large_bytes: int
    ) -> Records:
        """Return the conversions in some ranges of positions; other tasks may run in between.

        Args:
            name: the destination that they are addressed to.
            firsts: the first position of each range, in their order.
            lasts: the last one.
            large_bytes: bytes of memory that the large ones take.

        Raises:
            DamagedOutboxError: there are none.
            MissingKeyError: one is encrypted with a key that the program does not have.
            OutboxError: the database failed.
        """
        first, last = firsts[0], lasts[-1]
        await self._wait_for_reading(first)
        if name in self._followers or self._last_read - self._cache.size < first <= last <= (
            self._last_read
        ):
            seqs, times, digests = await self._read_digests(name, firsts, lasts)
            conversions = self._cache.find(digests)
            if all(conversions):
                return Records(seqs, times, cast("list[Conversion]", conversions))
        reading = _Reading(first, last, anyio.Event())
        self._readings.append(reading)
        try:
            seqs, times, digests, payloads = await self._read_records(name, firsts, lasts)
            await self._know_keys(payloads)
            decoded = await self._decode_in_steps(name, payloads, digests, large_bytes)
            self._last_read = last
        finally:
            self._readings.remove(reading)
            reading.over.set()
        return Records(seqs, times, decoded)

    async def _wait_for_reading(self, first: int) -> None:
        for reading in self._readings:
            if reading.first <= first <= reading.last:
                await reading.over.wait()
                return

    async def _read_records(
        self, name: str, firsts: Sequence[int], lasts: Sequence[int]
    ) -> Sequence[Sequence[Any]]:
        """Return positions, times, digests and records."""
        rows = await self._fetch(queries.RECORDS, name, firsts, lasts)
        _check_found(name, rows)
        return [*zip(*sorted(rows, key=itemgetter(0)), strict=True)]

    async def _read_digests(
        self, name: str, firsts: Sequence[int], lasts: Sequence[int]
    ) -> Sequence[Sequence[Any]]:
        """Return positions, times and digests."""
        ((seqs, times, digests),) = await self._fetch(queries.DIGESTS, name, firsts, lasts)
        _check_found(name, seqs)
        if seqs == sorted(seqs):  # nearly always
            return seqs, times, digests
        return [*zip(*sorted(zip(seqs, times, digests, strict=True)), strict=True)]

    async def _fetch(
        self,
        statements: queries.ReadStatements,
        name: str,
        firsts: Sequence[int],
        lasts: Sequence[int],
    ) -> Sequence[Any]:
        if not self._db.has_own_sessions:
            return await self._db.fetch(statements.anywhere, firsts, lasts, name)
        if len(firsts) == 1:
            return await self._db.fetch(statements.one, firsts[0], lasts[0], name)
        return await self._db.fetch(statements.several, firsts, lasts, name)

    async def _decode_in_steps(
        self, name: str, payloads: Sequence[bytes], digests: Sequence[bytes], large_bytes: int
    ) -> list[Conversion | DecodeError]:
        """Return the conversions with these records; other tasks may run in between."""
        # 50 at once, 12 of a claim with 512 KiB of large ones, one of a claim with 6 MiB.
        at_once = max(1, DECODED_AT_ONCE * _BYTES_AT_ONCE // max(large_bytes, _BYTES_AT_ONCE))
        decoded: list[Any] = []
        is_follower = True
        for start in range(0, len(payloads), at_once):
            end = start + at_once
            cached = self._cache.find(digests[start:end])
            if all(cached):
                decoded += cached
            else:
                is_follower = False
                decoded += self._cache.decode_many(payloads[start:end], digests[start:end])
                await checkpoint()
        if is_follower:
            self._followers.add(name)
        else:
            self._followers.discard(name)
        return decoded


def _check_found(name: str, rows: object) -> None:
    if not rows:
        raise DamagedOutboxError(
            f"the outbox is damaged: conversions that are to be delivered to {name!r} are missing "
            "from its log"
        )
