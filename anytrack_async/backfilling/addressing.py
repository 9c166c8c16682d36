"""Which destinations the conversions of a block are sent to.

A destination that would refuse a conversion because of its age does not get it. AnyTrack does not
get conversions that were exported from AnyTrack: it has them under its own ids, and would count
them twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

from anytrack_async.backfilling.blocks import MappedBlock
from anytrack_async.backfilling.report import RowCounts
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.destinations.sink import SinkLimits, checked_names
from anytrack_async.models.conversion import Conversion

TOO_OLD = "too old for every destination"
FROM_ANYTRACK = "exported from AnyTrack, which has it"
_EXPORT = "anytrack"  # name of the preset


class Addressing:
    """Finds the destinations of conversions.

    Args:
        limits: destination → limits of its sink.
        settings: destinations, and the handling of old conversions.
        clock: returns unix seconds.

    Attributes:
        names: the destinations that conversions are for, as far as age and origin allow.
    """

    def __init__(
        self,
        limits: Mapping[str, SinkLimits],
        settings: BackfillSettings,
        clock: Callable[[], float],
    ) -> None:
        to = settings.to
        self.names = tuple(limits) if to is None else checked_names("to", to, tuple(limits))
        self._clock = clock
        self._spares_origin = to is None and ANYTRACK in self.names
        self._max_ages = {
            name: max_age
            for name in self.names
            if settings.too_old == "skip" and (max_age := limits[name].max_age) is not None
        }

    @property
    def now(self) -> datetime:
        """The current time, UTC."""
        return datetime.fromtimestamp(self._clock(), UTC)

    @property
    def oldest(self) -> datetime | None:
        """The earliest time of a conversion that some destination takes; None for no limit."""
        if not self.names or len(self._max_ages) < len(self.names):
            return None
        return datetime.fromtimestamp(self._clock() - max(self._max_ages.values()), UTC)

    @property
    def reason(self) -> str:
        """The reason for skipping conversions that have no destination."""
        return TOO_OLD if len(self._max_ages) == len(self.names) else FROM_ANYTRACK

    def split(self, block: MappedBlock) -> Sequence[tuple[tuple[str, ...], Sequence[int]]]:
        """Return destinations and the indexes of the conversions of *block* that are for them."""
        conversions = block.conversions
        from_anytrack = self._from_anytrack(block)
        if not from_anytrack and not self._some_are_old(conversions):
            return [(self.names, range(len(conversions)))]
        takers = [self._takers(conversion) for conversion in conversions]
        for index in from_anytrack:
            takers[index] = tuple(name for name in takers[index] if name != ANYTRACK)
        is_repeated = len({conversion.event_id for conversion in conversions}) < len(conversions)
        return _runs(takers) if is_repeated else _parts(takers)

    def _from_anytrack(self, block: MappedBlock) -> list[int]:
        """Return the indexes of conversions that AnyTrack has already, and must not get again."""
        if not self._spares_origin or block.info.preset != _EXPORT:
            return []
        return [index for index, item in enumerate(block.conversions) if is_from_anytrack(item)]

    def _some_are_old(self, conversions: Sequence[Conversion]) -> bool:
        if not self._max_ages or not conversions:
            return False
        earliest = min(conversion.timestamp for conversion in conversions)
        return self._clock() - earliest.timestamp() > min(self._max_ages.values())

    def _takers(self, conversion: Conversion) -> tuple[str, ...]:
        age = self._clock() - conversion.timestamp.timestamp()
        return tuple(name for name in self.names if age <= self._max_ages.get(name, age))

    def count(self, names: Sequence[str], new: int, counts: RowCounts) -> None:
        """Count *new* conversions that are for *names* only."""
        for name in self.names:
            if name not in names and new:
                part = counts.too_old if name in self._max_ages else counts.origin
                part[name] = part.get(name, 0) + new


def _runs(takers: Sequence[tuple[str, ...]]) -> list[tuple[tuple[str, ...], list[int]]]:
    """Return destinations and indexes, in the order of the rows.

    For a block in which an event id occurs twice, because the first of its conversions counts.
    """
    runs = groupby(range(len(takers)), takers.__getitem__)
    return [(names, list(indexes)) for names, indexes in runs]


def _parts(takers: Sequence[tuple[str, ...]]) -> list[tuple[tuple[str, ...], list[int]]]:
    """Return destinations and indexes, with all conversions for the same destinations together."""
    parts: dict[tuple[str, ...], list[int]] = {}
    for index, names in enumerate(takers):
        parts.setdefault(names, []).append(index)
    return list(parts.items())


def is_from_anytrack(conversion: Conversion) -> bool:
    """Return whether *conversion* has AnyTrack's id only, under which no outbox has sent it."""
    return conversion.id is not None and conversion.event_id == f"{ANYTRACK}:{conversion.id}"
