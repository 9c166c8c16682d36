"""`Slots`: the requests that a sink may have under way, shared by its batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Slots:
    """A number of slots, all for the only batch there is, or a fair share for each of several.

    So nobody queues for connections request by request, which would cost a good part of a request.

    Args:
        count: how many there are.

    Attributes:
        share: how many slots a batch may have now.
    """

    def __init__(self, count: int) -> None:
        self._count = self._free = self.share = count
        self._batches = 0
        self._news: anyio.Event | None = None

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Count one more batch."""
        self._join(1)
        try:
            yield
        finally:
            self._join(-1)

    def take(self, held: int) -> bool:
        """Take a slot for a batch that has *held* already; False if there is none for it now."""
        if not self._free or held >= self.share:
            return False
        self._free -= 1
        return True

    def give(self) -> None:
        """Give a slot back."""
        self._free += 1
        self._tell()

    async def news(self) -> None:
        """Return when a slot was given back, or the share has changed."""
        if self._news is None:
            self._news = anyio.Event()
        await self._news.wait()

    def _join(self, more: int) -> None:
        self._batches += more
        self.share = -(-self._count // max(self._batches, 1))
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None
