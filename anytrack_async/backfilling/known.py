"""`KnownRows`: which rows of a file the outbox has accepted before, asked from the reading thread.

A first run knows none, so after rows that are new, only every 32nd piece is asked about, which
costs it less than a hundredth. In a second run every piece is, and few rows are mapped at all.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop, run_coroutine_threadsafe
from collections.abc import Sequence
from datetime import UTC, datetime

from anytrack_async.backfilling.identity import Identity
from anytrack_async.backfilling.settings import BackfillSettings
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsSummaries

_PIECES_BETWEEN = 32
_MIN_TIME = datetime.min.replace(tzinfo=UTC)
_MAX_TIME = datetime.max.replace(tzinfo=UTC)


class KnownRows:
    """Asks an outbox, for some hundred rows at once, in the reading thread.

    Rows that would not be accepted are not looked up: rows outside the period of the settings, and
    rows too old for every destination. A row with a changed amount does not count as known.

    Args:
        outbox: an open outbox; its event loop is the one in which this object is made.
        settings: may state a period.
        oldest: the earliest time of a conversion that some destination takes; None for no limit.

    Attributes:
        in_bulk: whether most rows were known, so that it pays to ask about many at once.
    """

    def __init__(
        self, outbox: KeepsSummaries, settings: BackfillSettings, oldest: datetime | None
    ) -> None:
        self._outbox = outbox
        self._loop: AbstractEventLoop = get_running_loop()
        self._since = max(settings.since or _MIN_TIME, oldest or _MIN_TIME)
        self._until = settings.until or _MAX_TIME
        self._pieces_to_skip = 0
        self.in_bulk = False

    def asks(self) -> bool:
        """Return whether to ask about the next piece of rows."""
        if not self._pieces_to_skip:
            return True
        self._pieces_to_skip -= 1
        return False

    def find(self, identities: Sequence[Identity | None]) -> list[bool]:
        """Return which of the rows with *identities* were accepted before; blocks.

        Raises:
            OutboxError: the outbox failed.
        """
        in_period = [item for item in identities if item is not None and self._is_wanted(item)]
        summaries = self._ask([identity.event_id for identity in in_period]) if in_period else {}
        accepted = [
            identity is not None
            and identity.event_id in summaries
            and summaries[identity.event_id] in (identity.summary, None)
            and self._is_wanted(identity)
            for identity in identities
        ]
        self.in_bulk = 2 * accepted.count(True) > len(in_period)
        self._pieces_to_skip = 0 if self.in_bulk else _PIECES_BETWEEN
        return accepted

    def _is_wanted(self, identity: Identity) -> bool:
        return self._since <= identity.timestamp < self._until

    def _ask(self, event_ids: list[str]) -> dict[str, str | None]:
        async def summaries() -> dict[str, str | None]:
            return dict(await self._outbox.summaries(event_ids))

        return run_coroutine_threadsafe(summaries(), self._loop).result()


def known_rows(
    outbox: Outbox | None, settings: BackfillSettings, oldest: datetime | None
) -> KnownRows | None:
    """Return what finds the rows that *outbox* has accepted before; None if it cannot say."""
    if outbox is None or not isinstance(outbox, KeepsSummaries):
        return None
    return KnownRows(outbox, settings, oldest)
