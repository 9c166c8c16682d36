"""Turning what is stored into conversions, without holding the event loop up: `Reader`."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import decode
from anytrack_async.errors import DecodeError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import DeadLetter, Entries, Entry, FailedEntry
from anytrack_async.outbox.sqlite.claim import Found
from anytrack_async.outbox.sqlite.dead_letters import Letter

_log = logging.getLogger("anytrack_async")

_SLICE = 50
"""Conversions decoded before others may run: about a millisecond."""


class Reader:
    """Decodes, and remembers the newest *most* conversions by place, so as not to decode again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._recent: OrderedDict[int, Conversion] = OrderedDict()

    def remember(self, first: int, conversions: Sequence[Conversion]) -> None:
        """Remember *conversions* that lie one after the other from place *first*.

        Called in the thread that writes them, while the event loop looks up and remembers others:
        each step here is one that no other thread can come into.
        """
        recent = self._recent
        recent.update(enumerate(conversions, first))
        while len(recent) > self._most:  # counted anew each time: the other thread drops too
            recent.popitem(last=False)

    async def entries(self, found: Sequence[Found]) -> tuple[Entries, list[FailedEntry]]:
        """Return the entries, and a death for each that cannot be read."""
        entries: list[Entry] = []
        faults: list[FailedEntry] = []
        for count, one in enumerate(found, 1):
            try:
                entries.append(self._entry(one))
            except DecodeError as exc:
                faults.append(FailedEntry(seq=one.seq, attempts=one.attempts, error=str(exc)))
            if count % _SLICE == 0:
                await checkpoint()
        return Entries.of(entries), faults

    def _entry(self, one: Found) -> Entry:
        return Entry(
            seq=one.seq,
            conversion=self._conversion(one.seq, one.payload, one.digest),
            attempts=one.attempts,
            accepted_at=one.accepted_at,
        )

    async def letters(self, stored: Sequence[Letter]) -> list[DeadLetter]:
        """Return the dead letters; those that cannot be read are named in the log."""
        readable: list[DeadLetter] = []
        for count, one in enumerate(stored, 1):
            try:
                readable.append(self._letter(one))
            except DecodeError as exc:
                _log.warning("dead letter %s of %s: %s", one.event_id, one.destination, exc)
            if count % _SLICE == 0:
                await checkpoint()
        return readable

    def _letter(self, one: Letter) -> DeadLetter:
        return DeadLetter(
            seq=one.seq,
            destination=one.destination,
            conversion=self._conversion(one.seq, one.payload, one.digest),
            attempts=one.attempts,
            error=one.error,
            code=one.code,
            died_at=one.died_at,
        )

    def _conversion(self, seq: int, payload: bytes, digest: bytes) -> Conversion:
        conversion = self._recent.get(seq)
        if conversion is None:
            conversion = decode(payload, digest)
            self.remember(seq, (conversion,))
        return conversion
