"""`Encoder`: conversions to encoded events, without those that Meta would refuse.

Source: Meta: Conversions API, using the API.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

from anytrack_async.destinations.meta.body import Chunk
from anytrack_async.destinations.meta.event import to_events
from anytrack_async.destinations.meta.preflight import find_faults, find_weaknesses
from anytrack_async.destinations.meta.settings import MetaSettings
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome

SLICE: Final = 64
"""Events mapped and encoded at a time: so few dicts and lists at once that Python's cyclic garbage
collector has no reason to look at them."""

TURN: Final = 3 * SLICE
"""Events between two checkpoints: most of a millisecond, as much as other lanes take in a turn."""

_Outcomes = list[Outcome | None]
_Events = dict[int, dict[str, Any]]


class Encoder:
    """Maps, checks and encodes a batch, slice by slice.

    Args:
        settings: how events look, and how long a request may be.
        warn: is told what weakens an event that is sent all the same.
    """

    def __init__(self, settings: MetaSettings, warn: Callable[[str], None]) -> None:
        self._settings = settings
        self._warn = warn
        # One batch at a time: if several took turns, all would be ready when the last one is.
        self._turn = anyio.Lock(fast_acquire=True)

    async def encode(self, batch: Sequence[Conversion], outcomes: _Outcomes) -> list[Chunk]:
        """Return the events of *batch*; in *outcomes*, reject what cannot be one.

        The event loop gets its turn after every `TURN` events.
        """
        chunks: list[Chunk] = []
        async with self._turn:
            now = time.time()
            for start in range(0, len(batch), SLICE):
                if start and start % TURN == 0:
                    await checkpoint()
                some = batch[start : start + SLICE]
                events = self._mapped(some, range(start, start + len(some)), now, outcomes)
                self._check(events, now, outcomes)
                if events:
                    chunks += self._encoded(events, outcomes)
        return chunks

    def _mapped(
        self, some: Sequence[Conversion], places: Sequence[int], now: float, outcomes: _Outcomes
    ) -> _Events:
        try:
            return dict(zip(places, to_events(some, self._settings, now=now), strict=True))
        except Exception as exc:  # of `MetaSettings.event_name`, about one of them
            if len(some) == 1:
                outcomes[places[0]] = _no_event(exc)
                return {}
        events: _Events = {}
        for place, one in zip(places, some, strict=True):
            events |= self._mapped((one,), (place,), now, outcomes)
        return events

    def _check(self, events: _Events, now: float, outcomes: _Outcomes) -> None:
        for place, fault in find_faults(events, now).items():
            outcomes[place] = Outcome.rejected(fault.reason, code=fault.code)
            del events[place]
        for weakness in find_weaknesses(events.values()):
            self._warn(weakness)

    def _encoded(self, events: _Events, outcomes: _Outcomes) -> list[Chunk]:
        with suppress(TypeError):  # about at least one event, which must not cost the others
            together = Chunk.of(events)
            if len(together.encoded) <= self._settings.max_bytes:
                return [together]
        return list(self._one_by_one(events, outcomes))

    def _one_by_one(self, events: _Events, outcomes: _Outcomes) -> Iterator[Chunk]:
        for place, event in events.items():
            try:
                yield Chunk.of({place: event})
            except TypeError as exc:
                outcomes[place] = _no_event(exc)


def _no_event(exc: Exception) -> Outcome:
    # Without its text, which may quote a customer.
    return Outcome.rejected(f"could not be made an event: {type(exc).__name__}")
