"""Decoding the conversions of an outbox file, in the event loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from anytrack_async.codec.storage import decode
from anytrack_async.models.conversion import Conversion

DECODED_AT_ONCE = 50
"""Conversions decoded before other tasks may run: about a millisecond."""


class ConversionCache:
    """Decodes conversions, and keeps the newest *size* so as not to decode them again."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._by_seq: OrderedDict[int, Conversion] = OrderedDict()

    def remember(self, first: int, conversions: Sequence[Conversion]) -> None:
        """Keep *conversions* that are in the log one after the other from position *first*.

        Called in the thread that writes them, while the event loop reads and adds others. No lock
        is needed, because each operation on the dict is atomic.
        """
        by_seq = self._by_seq
        by_seq.update(enumerate(conversions, first))
        while len(by_seq) > self._size:  # count each time: the other thread removes too
            by_seq.popitem(last=False)

    def decode(self, seq: int, payload: bytes, digest: bytes) -> Conversion:
        """Return the conversion at position *seq*.

        Raises:
            DecodeError: it is not in the cache, and the record cannot be read.
        """
        conversion = self._by_seq.get(seq)
        if conversion is None:
            conversion = decode(payload, digest)
            self.remember(seq, (conversion,))
        return conversion
