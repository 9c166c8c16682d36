"""`KnownRows`: which rows of a file the outbox has accepted before, asked from the reading thread.

In a first run no row is known. So after a piece of new rows, the outbox is asked about every 32nd
piece only, which takes less than 1 % of the run's time. In a second run the outbox is asked about
every piece, and few rows are mapped at all.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop, run_coroutine_threadsafe
from collections.abc import Mapping, Sequence
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
        wanted = [
            identity if identity is not None and self._is_wanted(identity) else None
            for identity in identities
        ]
        event_ids = [identity.event_id for identity in wanted if identity is not None]
        summaries = self._ask(event_ids) if event_ids else {}
        accepted = [identity is not None and _is_in(summaries, identity) for identity in wanted]
        self.in_bulk = 2 * accepted.count(True) > len(event_ids)
        self._pieces_to_skip = 0 if self.in_bulk else _PIECES_BETWEEN
        return accepted

    def _is_wanted(self, identity: Identity) -> bool:
        return self._since <= identity.timestamp < self._until

    def _ask(self, event_ids: list[str]) -> dict[str, str | None]:
        async def summaries() -> dict[str, str | None]:
            return dict(await self._outbox.summaries(event_ids))

        return run_coroutine_threadsafe(summaries(), self._loop).result()


def _is_in(summaries: Mapping[str, str | None], identity: Identity) -> bool:
    """Return whether *summaries*, event id → summary or None, have that of *identity*."""
    event_id = identity.event_id
    return event_id in summaries and summaries[event_id] in (identity.summary, None)


def known_rows(
    outbox: Outbox | None, settings: BackfillSettings, oldest: datetime | None
) -> KnownRows | None:
    """Return a `KnownRows` that asks *outbox*; None if *outbox* keeps no summaries."""
    if outbox is None or not isinstance(outbox, KeepsSummaries):
        return None
    return KnownRows(outbox, settings, oldest)
