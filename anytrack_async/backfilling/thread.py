"""`ReadAhead`: an iterator that works in a thread of its own, a few items ahead of its reader."""

from __future__ import annotations

from asyncio import get_running_loop
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

import anyio

_T = TypeVar("_T")

_STOP_TIMEOUT = 5.0  # seconds; a thread that waits for a pipe cannot be stopped at all


class ReadAhead(Generic[_T]):
    """Runs a generator in a thread and hands its items to the event loop.

    The thread is at most *ahead* items ahead, so that memory stays flat. There is a hand-over for
    each item, so an item should be a block of rows.

    Args:
        make: returns the generator; called in the thread.
        ahead: items that may wait to be taken.
    """

    def __init__(self, make: Callable[[], Generator[_T]], *, ahead: int = 2) -> None:
        self._make = make
        self._room = Semaphore(ahead)
        self._items: deque[_T] = deque()
        self._stopping = Event()
        self._finished = False
        self._error: BaseException | None = None
        self._changed = anyio.Event()

    async def items(self) -> AsyncGenerator[_T]:
        """Yield the items one by one; see `batches`."""
        async with aclosing(self.batches(1)) as batches:
            async for (item,) in batches:
                yield item

    async def batches(self, limit: int) -> AsyncGenerator[list[_T]]:
        """Yield the items that are ready, at most *limit* at once, at least one.

        Close it with `aclosing`, which waits until the thread has ended.

        Raises:
            Exception: the generator's exception, after the items that the generator yielded before.
        """
        self._loop = get_running_loop()
        Thread(target=self._run, name="anytrack-backfill", daemon=True).start()
        try:
            while True:
                while not self._items:
                    if self._finished:
                        if self._error is not None:
                            raise self._error
                        return
                    self._changed = anyio.Event()
                    # Once more: the thread may have changed them before the event was there.
                    if not self._items and not self._finished:
                        await self._changed.wait()
                batch = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
                self._room.release(len(batch))
                yield batch
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self._stopping.set()
        self._room.release()
        with anyio.move_on_after(_STOP_TIMEOUT, shield=True):
            while not self._finished:
                self._changed = anyio.Event()
                if not self._finished:
                    await self._changed.wait()

    def _run(self) -> None:
        try:
            generator = self._make()
            try:
                self._pump(generator)
            finally:
                generator.close()
        except BaseException as exc:
            self._error = exc
        self._finished = True
        self._notify()

    def _pump(self, generator: Generator[_T]) -> None:
        while True:
            self._room.acquire()
            if self._stopping.is_set():
                return
            try:
                item = next(generator)
            except StopIteration:
                return
            self._items.append(item)
            self._notify()

    def _notify(self) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so no reader is left
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._changed.set()
