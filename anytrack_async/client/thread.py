"""`EventLoopThread`: an event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

T = TypeVar("T")


class EventLoopThread:
    """An event loop in a thread of its own.

    The thread is a daemon: the interpreter would wait for any other before it runs the functions
    that `atexit` has, one of which ends the thread.

    Attributes:
        portal: runs functions in the event loop.
        pid: the process.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        started: Future[BlockingPortal] = Future()

        async def serve() -> None:
            async with BlockingPortal() as portal:
                started.set_result(portal)
                await portal.sleep_until_stopped()

        target = partial(anyio.run, serve)
        self._thread = threading.Thread(target=target, name="anytrack", daemon=True)
        self._thread.start()
        self.portal = started.result()

    @property
    def is_current(self) -> bool:
        """Whether the caller is in this event loop."""
        return self._thread is threading.current_thread()

    def stop(self) -> None:
        """End the event loop and the thread."""
        self.portal.start_task_soon(self.portal.stop, True).result()
        self._thread.join()


class BlockingIterator(Iterator[T], Generic[T]):
    """The items of an asynchronous generator, one for each call of `next`.

    Args:
        run: runs a coroutine function in the event loop.
        generator: makes the generator, there.
    """

    def __init__(
        self,
        run: Callable[[Callable[[], Awaitable[Any]]], Any],
        generator: Callable[[], AsyncGenerator[T, None]],
    ) -> None:
        self._run = run
        self._open = generator
        self._generator: AsyncGenerator[T, None] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        async def advance() -> T | None:
            if self._generator is None:
                self._generator = self._open()
            return await anext(self._generator, None)

        item: T | None = self._run(advance)
        if item is None:
            raise StopIteration
        return item

    def close(self) -> None:
        """Stop early; conversions that were accepted are delivered nevertheless."""
        if (generator := self._generator) is not None:
            self._run(generator.aclose)
