"""From stored rows to conversions: decrypting and decoding them, and a cache that makes it rare.

Rows are decrypted in the outbox's thread, and decoded in the event loop. The module `encryption` is
imported for the first encrypted row, so that it is never loaded for a file without any.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import SEALED, decode, memory_bytes
from anytrack_async.errors import DecodeError, MissingKeyError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Claim, Entries, Entry, FailedEntry
from anytrack_async.outbox.sqlite.database import Database
from anytrack_async.outbox.sqlite.queries import log as queries

DECODED_AT_ONCE = 50
"""Conversions decoded before other tasks may run: about a millisecond."""

_BYTES_AT_ONCE = 2**17
"""Bytes of large conversions from which on fewer are decoded at once."""

CACHED_BYTES = 4_096
"""Bytes of a record up to which its conversion is kept in the cache: with 10,000 conversions, the
cache keeps records of 40 MiB at most. Decoding a larger one again takes less time than sending it.
"""


class StoredEntry(NamedTuple):
    """An entry of a claim as it is in the file.

    Attributes:
        seq: position in the log.
        accepted_at: time of acceptance, unix seconds.
        payload: the encoded conversion.
        digest: digest of the payload.
        attempts: number of failed deliveries to this destination so far.
    """

    seq: int
    accepted_at: float
    payload: bytes
    digest: bytes
    attempts: int


@attrs.frozen(kw_only=True)
class ClaimResult:
    """A claim with entries that are not decoded yet.

    Attributes:
        lease_id: identifies the lease; 0 when nothing could be claimed.
        entries: the stored entries, in log order.
        lost_leases: `Claim.lost_leases`.
        large_bytes: `Claim.large_bytes`.
        next_due: without entries, when to claim again, unix seconds.
    """

    lease_id: int = 0
    entries: Sequence[StoredEntry] = ()
    lost_leases: Mapping[int, int] = attrs.field(factory=dict)
    large_bytes: int = 0
    next_due: float | None = None


@attrs.frozen(kw_only=True)
class SQLiteClaim(Claim):
    """A claim as `SQLiteOutbox` returns it.

    Attributes:
        unreadable: records in the lease that cannot be decoded. They are not in `entries`, and
            become dead letters when the claim is settled.
    """

    unreadable: Sequence[FailedEntry] = ()


class ConversionCache:
    """Decodes conversions, and keeps the newest *size* so as not to decode them again."""

    # Two dicts rather than one of tuples: the garbage collector would look at each tuple again and
    # again, and never looks at numbers or digests.
    def __init__(self, size: int) -> None:
        self._size = size
        self._by_seq: OrderedDict[int, Conversion] = OrderedDict()
        self._digests: dict[int, bytes] = {}

    def remember(
        self, first: int, conversions: Sequence[Conversion], digests: Sequence[bytes]
    ) -> None:
        """Keep *conversions* that are in the log one after the other from position *first*.

        Called in the thread that writes them, while the event loop reads and adds others. No lock
        is needed, because each operation on the dict is atomic.
        """
        by_seq = self._by_seq
        # Digests first: so each conversion that is removed has its digest there, to remove with it.
        self._digests.update(enumerate(digests, first))
        by_seq.update(enumerate(conversions, first))
        while len(by_seq) > self._size:  # count each time: the other thread removes too
            seq, _ = by_seq.popitem(last=False)
            self._digests.pop(seq, None)

    def forget(self, seqs: Iterable[int]) -> None:
        """Drop the conversions at the positions *seqs*."""
        for seq in seqs:
            self._by_seq.pop(seq, None)
            self._digests.pop(seq, None)

    def decode(self, seq: int, payload: bytes, digest: bytes) -> Conversion:
        """Return the conversion at position *seq*.

        Raises:
            DecodeError: it is not in the cache, and the record cannot be read.
        """
        cached = self._by_seq.get(seq) if self._digests.get(seq) == digest else None
        if cached is not None:
            return cached
        # Not in the cache, or corrected since, perhaps by another process.
        conversion = decode(payload, digest)
        if len(payload) <= CACHED_BYTES:
            self.remember(seq, (conversion,), (digest,))
        return conversion


Decrypt: TypeAlias = Callable[[Sequence[StoredEntry]], Awaitable[Sequence[StoredEntry]]]


async def decode_claim(
    name: str, result: ClaimResult, cache: ConversionCache, decrypt: Decrypt
) -> SQLiteClaim:
    """Return *result* with its entries decoded; other tasks may run in between.

    Raises:
        MissingKeyError: an entry is encrypted with a key that is not in the key ring.
    """
    entries: list[Entry] = []
    unreadable: list[FailedEntry] = []
    sealed: list[StoredEntry] = []
    # 50 at once, 12 of a claim with 512 KiB of large ones, one of a claim with 6 MiB.
    at_once = max(1, DECODED_AT_ONCE * _BYTES_AT_ONCE // max(result.large_bytes, _BYTES_AT_ONCE))
    for count, (seq, accepted_at, payload, digest, attempts) in enumerate(result.entries, 1):
        try:
            entries.append(Entry(seq, cache.decode(seq, payload, digest), attempts, accepted_at))
        except DecodeError as exc:
            # Only here, so that conversions in the cache are not decrypted.
            if payload[:1] == SEALED:
                sealed.append(StoredEntry(seq, accepted_at, payload, digest, attempts))
            else:
                unreadable.append(FailedEntry(seq=seq, attempts=attempts, error=str(exc)))
        if count % at_once == 0:
            await checkpoint()
    if sealed:
        decrypted = attrs.evolve(result, entries=await decrypt(sealed))
        claim = await decode_claim(name, decrypted, cache, decrypt)
        digests = {
            entry.seq: entry.digest for entry in sealed if len(entry.payload) <= CACHED_BYTES
        }
        for entry in claim.entries:  # the next claim compares with the digests in the file
            if entry.seq in digests:
                cache.remember(entry.seq, (entry.conversion,), (digests[entry.seq],))
        entries = sorted([*entries, *claim.entries], key=itemgetter(0))
        unreadable += claim.unreadable
    return SQLiteClaim(
        destination=name,
        lease_id=result.lease_id,
        entries=Entries.of(entries),
        lost_leases=result.lost_leases,
        large_bytes=result.large_bytes,
        unreadable=unreadable,
    )


# Decrypting; these functions take plain rows as well


def decrypted_record(
    db: Database, event_id: str, payload: bytes, digest: bytes
) -> tuple[bytes, bytes]:
    """Return payload and digest of a stored record.

    A record that cannot be decrypted although its key is known is damaged: the payload is then
    `storage.UNDECIPHERABLE`.

    Raises:
        MissingKeyError: its key is not in the key ring.
    """
    if payload[:1] != SEALED:
        return payload, digest
    from anytrack_async.outbox.sqlite.encryption import open_record

    return open_record(db, event_id, payload)


def stored_memory_bytes(db: Database, seq: int, payload: bytes) -> int:
    """Return about how many bytes of memory the conversion at position *seq* takes.

    Only its content shows that: 100 KB of numbers take megabytes, and look like text as long as
    they are encrypted.
    """
    if payload[:1] == SEALED:
        (event_id,) = db.sql.execute(queries.EVENT_ID_AT, (seq,)).fetchone() or ("",)
        with suppress(MissingKeyError):  # the claim fails when it is decoded
            payload, _ = decrypted_record(db, event_id, payload, b"")
    return memory_bytes(payload)


def decrypted_error(db: Database, seq: int, destination: str, error: bytes | str) -> str:
    """Return a stored error text, or a sentence that says that it cannot be decrypted.

    Raises:
        MissingKeyError: its key is not in the key ring.
    """
    if isinstance(error, str):
        return error
    from anytrack_async.outbox.sqlite.encryption import open_error

    opened = open_error(db, seq, destination, error)
    return "the reason cannot be decrypted: it was damaged or changed" if opened is None else opened


def decrypted_entries(db: Database, entries: Sequence[StoredEntry]) -> list[StoredEntry]:
    """Return *entries* of a claim, decrypted.

    Raises:
        MissingKeyError: the key of an entry is not in the key ring.
    """
    decrypted: list[StoredEntry] = []
    for entry in entries:
        (event_id,) = db.sql.execute(queries.EVENT_ID_AT, (entry.seq,)).fetchone() or ("",)
        payload, digest = decrypted_record(db, event_id, entry.payload, entry.digest)
        decrypted.append(entry._replace(payload=payload, digest=digest))
    return decrypted
