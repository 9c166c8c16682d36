"""`LiveFeed`: sends the changed parts of a page to every viewer, at most once a second."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio

_INTERVAL = 1.0
"""Seconds between two reads of the outbox."""

_MAX_VIEWERS = 200
"""Open pages of one process that are updated; further pages stay as they were loaded."""

_STREAM_SECONDS = 30.0
"""Seconds after which a stream ends and the browser opens the next one. A server that shuts down
waits for open responses, and does not tell an application before they have ended."""


class LiveFeed:
    """Reads for all viewers together, and only while there are any.

    There is no task: one of the viewers reads, the others wait for its result, and when it leaves,
    the next one reads. So nothing has to be started or stopped, with or without a lifespan, and a
    viewer that is slow gets the latest state only.

    Args:
        read: returns the present state as the text of a message.
    """

    def __init__(self, read: Callable[[], Awaitable[str]]) -> None:
        self._read = read
        self._reading = anyio.Lock()
        self._closed = anyio.Event()
        self._number = 0
        self._text = ""
        self._read_at = float("-inf")
        self.viewers = 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many viewers as may be."""
        return self.viewers >= _MAX_VIEWERS

    def open(self) -> None:
        """Let viewers in; the feed is open at first."""
        self._closed = anyio.Event()

    def close(self) -> None:
        """End the streams of all viewers."""
        self._closed.set()

    async def stream(self) -> AsyncGenerator[str, None]:
        """Yield server-sent events: the state now, then each change and each new minute."""
        ends_at = anyio.current_time() + _STREAM_SECONDS
        number, text, minute = -1, None, time.time() // 60
        closed = self._closed  # the feed may be opened again before this stream has noticed
        self.viewers += 1
        try:
            if self.viewers > _MAX_VIEWERS:  # many came at once, before any was counted
                yield "retry: 30000\n\n"
                return
            yield "retry: 1000\n\n"
            while not closed.is_set() and anyio.current_time() < ends_at:
                number = await self._after(number, closed)
                if text != self._text:
                    text = self._text
                    yield message("state", text)
                if minute != (minute := time.time() // 60):
                    yield message("minute", "-")  # a message without data would be no event
        finally:
            self.viewers -= 1

    async def _after(self, number: int, closed: anyio.Event) -> int:
        """Wait for a state later than *number*; return its number."""
        async with self._reading:
            if self._number <= number or self._is_old():
                with anyio.move_on_after(self._read_at + _INTERVAL - anyio.current_time()):
                    await closed.wait()
                if not closed.is_set():
                    self._text = await self._read()
                    self._read_at = anyio.current_time()
                    self._number += 1
            return self._number

    def _is_old(self) -> bool:
        return anyio.current_time() - self._read_at > _INTERVAL


def message(event: str, text: str) -> str:
    """Return a server-sent event; a line break in *text* begins a new field."""
    lines = "\n".join(f"data: {line}" for line in text.splitlines())
    return f"event: {event}\n{lines}\n\n"
