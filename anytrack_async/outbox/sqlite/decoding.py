"""Decoding the entries of a claim in the event loop, and a cache that makes it rare."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import itemgetter
from typing import TypeAlias

import attrs
from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import SEALED, decode
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Entries, Entry, FailedEntry
from anytrack_async.outbox.sqlite.leases import ClaimResult, SQLiteClaim, StoredEntry

DECODED_AT_ONCE = 50
"""Conversions decoded before other tasks may run: about a millisecond."""

_BYTES_AT_ONCE = 2**17
"""Bytes of large conversions from which on fewer are decoded at once."""

CACHED_BYTES = 4_096
"""Bytes of a record up to which its conversion is kept in the cache: with 10,000 conversions, the
cache keeps records of 40 MiB at most. Decoding a larger one again takes less time than sending it.
"""


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
