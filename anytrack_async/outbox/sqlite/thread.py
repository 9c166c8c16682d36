"""One thread that alone touches a resource: `OwnerThread`, and the `Job`s it does."""

from __future__ import annotations

import os
import threading
from asyncio import get_running_loop
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar, cast

import anyio

from anytrack_async.errors import OutboxError

_R = TypeVar("_R")
_R_contra = TypeVar("_R_contra", contravariant=True)
_T = TypeVar("_T")


class Job(Generic[_R, _T]):
    """A piece of work for the thread, and what became of it. Any number of tasks may wait.

    Made by the event loop that waits for it.

    Attributes:
        done: set once the work is.

    Args:
        work: called in the thread with the resource.
    """

    def __init__(self, work: Callable[[_R], _T]) -> None:
        self.done = anyio.Event()
        self._work = work
        self._loop = get_running_loop()
        self._result: _T | None = None
        self._error: Exception | None = None

    def run(self, resource: _R) -> None:
        """Do the work and wake those who wait; called in the thread."""
        try:
            self._result = self._work(resource)
        except Exception as exc:
            self._error = exc
        with suppress(RuntimeError):  # their event loop is gone, and they with it
            self._loop.call_soon_threadsafe(self.done.set)

    async def wait(self) -> _T:
        """Return the result once there is one, or raise what the work raised.

        Who is cancelled stops waiting; the work is done all the same.
        """
        await self.done.wait()
        return self.result()

    def result(self) -> _T:
        """Return the result, or raise what the work raised; only once it is done."""
        if self._error is not None:
            raise self._error
        return cast("_T", self._result)


class Work(Protocol[_R_contra]):
    """What the thread does."""

    def run(self, resource: _R_contra, /) -> None:
        """Do it with *resource*; called in the thread, and must not raise."""
        ...


class OwnerThread(Generic[_R]):
    """Opens a resource, does jobs with it in order and closes it, all in one thread.

    No caller runs the work itself, so a caller that is cancelled takes nobody else's work down.
    The thread is a daemon: a process that forgets to stop it still ends.

    Args:
        opening: makes the resource.
        closing: called with it at the end.
    """

    def __init__(self, opening: Callable[[], _R], closing: Callable[[_R], object]) -> None:
        self._opening = opening
        self._closing = closing
        self._jobs: SimpleQueue[Work[_R] | None] = SimpleQueue()
        self._resource: _R | None = None
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether the thread runs in this process; a fork leaves it behind."""
        return os.getpid() == self._pid

    async def start(self) -> None:
        """Start the thread and open the resource; raises what *opening* raised."""
        opening: Job[None, None] = Job(self._open)
        threading.Thread(
            target=self._main, args=(opening,), name="anytrack-outbox", daemon=True
        ).start()
        try:
            await opening.wait()
        except BaseException:
            self._end()  # who was cancelled does not come back to close it
            raise

    def _open(self, _: None) -> None:
        self._resource = self._opening()

    def _main(self, opening: Job[None, None]) -> None:
        opening.run(None)
        if self._resource is None:
            return
        while (job := self._jobs.get()) is not None:
            job.run(self._resource)

    def check_here(self) -> None:
        """Raise `OutboxError` if this process was forked after the thread started."""
        if not self.is_here:
            raise OutboxError("the outbox was opened before this process was forked: open it here")

    def post(self, job: Work[_R]) -> None:
        """Put *job* at the end of the queue.

        Raises:
            OutboxError: this process was forked after the thread started.
        """
        self.check_here()
        self._jobs.put(job)

    async def run(self, work: Callable[[_R], _T]) -> _T:
        """Do *work* in the thread, after all that was posted before; return what it returns."""
        job = Job(work)
        self.post(job)
        return await job.wait()

    async def stop(self) -> None:
        """Do what was posted, close the resource and end the thread."""
        if self.is_here:
            await self._end().wait()

    def _end(self) -> Job[_R, object]:
        closing: Job[_R, object] = Job(self._closing)
        self._jobs.put(closing)
        self._jobs.put(None)
        return closing
