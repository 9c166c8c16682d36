"""One thread that alone uses a resource: `OwnerThread`, and the jobs it runs for event loops."""

from __future__ import annotations

import math
import os
import threading
import time
from asyncio import Future, get_running_loop
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast
from weakref import WeakSet

import anyio

from anytrack_async.errors import OutboxError

_P = ParamSpec("_P")
_LOCK_TIMEOUT_AT_END = 1.0
"""Seconds that the remaining work may wait for locks once the thread is told to end."""

_R = TypeVar("_R")
_R_contra = TypeVar("_R_contra", contravariant=True)
_T = TypeVar("_T")

# The threads of parent processes, with their resources; never emptied. If the garbage collector
# freed an inherited SQLite connection, SQLite would close a file that the parent is using, and
# might checkpoint and delete its write-ahead log.
_inherited: list[object] = []

_threads: WeakSet[OwnerThread[Any]] = WeakSet()


def _mark_inherited() -> None:
    for thread in _threads:
        thread.in_this_process = False


# So that a call that appends need not ask for the process id, which takes as long as all else that
# it does on its way to the thread.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_mark_inherited)


class Work(Protocol[_R_contra]):
    """An item in the queue of the thread."""

    def run(self, resource: _R_contra, /) -> None:
        """Do the work with *resource*; called in the thread, and must not raise."""
        ...


class Job(Generic[_R, _T]):
    """A function for the thread to call, and its result, for which any number of tasks may wait.

    Create it in the event loop that waits for the result.

    Args:
        work: called in the thread with the resource and the other arguments.

    Attributes:
        result: the value that the function returned; None before.
        is_abandoned: set it if no task waits for the result any more; the work may then give up
            while it waits for a lock.
    """

    def __init__(
        self, work: Callable[Concatenate[_R, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        self._work: Callable[..., _T] = work
        self._args = args
        self._kwargs = kwargs
        self._done = anyio.Event()
        self._loop = get_running_loop()
        self.is_abandoned = False
        self.result: _T | None = None
        self._error: Exception | None = None

    def run(self, resource: _R) -> None:
        """Call the function and wake the waiting tasks; called in the thread."""
        try:
            self.result = self._work(resource, *self._args, **self._kwargs)
        except Exception as exc:
            self._error = exc
        with suppress(RuntimeError):  # the event loop is closed, and no task waits any more
            self._loop.call_soon_threadsafe(self._done.set)

    async def wait(self) -> _T:
        """Wait for the function to return; return its result or raise its exception.

        Cancelling the waiting task does not cancel the work.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return cast("_T", self.result)


class OwnerThread(Generic[_R]):
    """Opens a resource, runs jobs with it in order and closes it, all in one thread.

    No task runs the work of another, so cancelling a task affects only that task. The thread is a
    daemon: a process that never stops it can still exit.

    Args:
        opening: creates the resource.
        closing: called with the resource at the end.

    Attributes:
        in_this_process: whether the thread runs in this process; a forked child does not have it.
    """

    def __init__(self, opening: Callable[[], _R], closing: Callable[[_R], object]) -> None:
        self._opening = opening
        self._closing = closing
        self._queue: SimpleQueue[Work[_R] | None] = SimpleQueue()
        self._resource: _R | None = None
        self._work: Work[_R] | None = None
        self._ends_at = math.inf
        self.in_this_process = True
        _threads.add(self)

    async def start(self) -> None:
        """Start the thread and open the resource.

        Raises:
            Exception: any error of *opening*; the thread has ended then.
        """
        opening: Job[None, None] = Job(self._open)
        threading.Thread(
            target=self._main, args=(opening,), name="anytrack-outbox", daemon=True
        ).start()
        try:
            await opening.wait()
        except BaseException:
            self._end()  # a caller that was cancelled will not come back to close the resource
            raise

    def _open(self, _: None) -> None:
        self._resource = self._opening()

    def _main(self, opening: Job[None, None]) -> None:
        opening.run(None)
        if self._resource is None:
            return
        while (work := self._queue.get()) is not None:
            self._work = work
            work.run(self._resource)

    def may_wait(self) -> bool:
        """Return whether the present work may wait longer for a lock; called in the thread.

        No more once its task is cancelled, or a second after `stop` was called.
        """
        if getattr(self._work, "is_abandoned", False):
            return False
        return time.monotonic() < self._ends_at

    def check_process(self) -> None:
        """Raise `OutboxError` if this process was forked after the thread started."""
        if not self.in_this_process:
            raise OutboxError(
                "the outbox was opened before this process was forked: call open() in this process"
            )

    def post(self, work: Work[_R]) -> None:
        """Put *work* at the end of the queue.

        Raises:
            OutboxError: this process was forked after the thread started.
        """
        self.check_process()
        self._queue.put(work)

    async def run(
        self, work: Callable[Concatenate[_R, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Call *work* in the thread after everything posted before, and return its result."""
        job = self.submit(work, *args, **kwargs)
        try:
            return await job.wait()
        except anyio.get_cancelled_exc_class():
            job.is_abandoned = True
            raise

    def submit(
        self, work: Callable[Concatenate[_R, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> Job[_R, _T]:
        """Let the thread call *work* after everything posted before; return the job."""
        job = Job(work, *args, **kwargs)
        self.post(job)
        return job

    async def stop(self) -> None:
        """Finish the queued work, close the resource and end the thread.

        A forked child does not have the thread: there, the resource is never used or closed.
        """
        if self.in_this_process:
            await self._end().wait()
        else:
            _inherited.append(self)

    def _end(self) -> Job[_R, object]:
        closing: Job[_R, object] = Job(self._closing)
        self._ends_at = time.monotonic() + _LOCK_TIMEOUT_AT_END
        self._queue.put(closing)
        self._queue.put(None)
        return closing


def resolve(results: Iterable[tuple[Future[_T], _T]]) -> None:
    """Set the result of each future in its own event loop; called in any thread.

    One wake-up per event loop, however many futures it waits for.
    """
    pairs = [*results]
    loops = {future.get_loop() for future, _ in pairs}
    for loop in loops:
        mine = pairs if len(loops) == 1 else [pair for pair in pairs if pair[0].get_loop() is loop]
        with suppress(RuntimeError):  # the event loop is closed, and no task waits any more
            loop.call_soon_threadsafe(_set_results, mine)


def _set_results(results: Sequence[tuple[Future[_T], _T]]) -> None:
    for future, result in results:
        if not future.done():  # the waiting task may have been cancelled
            future.set_result(result)
