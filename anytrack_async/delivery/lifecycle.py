"""Opening and closing a client: by any task, in one event loop, with an outbox of its own.

`Supervisor` keeps the client open in a task of its own, `LoopGuard` refuses calls from another
event loop or a forked process, and `reserved` refuses a second client on the same outbox object.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import warnings
from asyncio import AbstractEventLoop

# Returns None without an event loop, and in a forked child, where `get_running_loop` raises.
from asyncio import _get_running_loop as running_loop
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from weakref import WeakSet

import anyio
import sniffio
from anyio import CancelScope

from anytrack_async.descriptions import safe_description
from anytrack_async.errors import ClosedError, OutboxError, WrongEventLoopError
from anytrack_async.events import logger
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import ServesOneClient

# The event loop and the process


def not_open_error() -> ClosedError:
    """Return the error of a call that needs an open client."""
    return ClosedError(
        "nothing was accepted: the client is not open; use it inside its `async with` block, or "
        "between `await client.start()` and `await client.aclose()`"
    )


def check_asyncio() -> None:
    """Raise `WrongEventLoopError` unless asyncio runs the calling task."""
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        library = "no async library"
    if library != "asyncio":
        raise WrongEventLoopError(
            f"the client was not opened: it needs asyncio, but {library} runs this task; run it "
            "in asyncio, e.g. with asyncio.run() in a thread of its own"
        )


class LoopGuard:
    """The event loop, and the process, in which a client is open.

    Attributes:
        loop: the event loop; None while the client is closed, and in a forked child.
    """

    def __init__(self) -> None:
        self.loop: AbstractEventLoop | None = None
        self._pid = 0

    def bind(self) -> None:
        """Begin to refuse calls from anywhere but the running event loop."""
        self.loop, self._pid = running_loop(), os.getpid()
        _bound.add(self)

    def release(self) -> None:
        """Refuse no event loop any more."""
        self.loop, self._pid = None, 0
        _bound.discard(self)

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Bind the guard, unless it is bound already."""
        if self.loop is not None:
            yield
            return
        self.bind()
        try:
            yield
        finally:
            self.release()

    @property
    def is_inherited(self) -> bool:
        """Whether the client was open when this process was forked."""
        return self._pid not in (0, os.getpid())

    def check(self) -> None:
        """Raise `WrongEventLoopError` if the client is open, but not in the running event loop."""
        if running_loop() is not self.loop and (self.loop is not None or self.is_inherited):
            raise self.error()

    def error(self) -> ClosedError:
        """Return the error of a call that the running event loop must not make."""
        if self.is_inherited:
            return WrongEventLoopError(
                "the client was opened before this process was forked: the call did nothing; "
                "create a client in each process, after the fork, e.g. in gunicorn's post_fork or "
                "Celery's worker_process_init"
            )
        if self.loop is None:
            return not_open_error()
        if self.loop.is_closed():
            return WrongEventLoopError(
                "the event loop in which the client was opened has ended: the call did nothing; "
                "close a client in its own event loop, and create a new one for the next"
            )
        return WrongEventLoopError(
            "the client is open in another event loop: the call did nothing; call it there, e.g. "
            "with asyncio.run_coroutine_threadsafe(), or create a client for each event loop"
        )


_bound: WeakSet[LoopGuard] = WeakSet()


def _unbind_in_child() -> None:
    for guard in _bound:
        guard.loop = None


# So that calls need not ask for the process id, which takes longer than the rest of the check. The
# event loop alone would not do: a child may run the one that it has inherited.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_unbind_in_child)


# The outbox

_reserved: dict[int, tuple[int, Outbox]] = {}
"""Id of an outbox that a client has open → the client's process, and the outbox."""


@contextmanager
def reserved(outbox: Outbox, max_attempts: int) -> Iterator[None]:
    """Keep *outbox* for one client.

    Args:
        outbox: the outbox; not open yet.
        max_attempts: how many attempts a conversion may make; see `ServesOneClient`.

    Raises:
        OutboxError: another client of this process has it open; nothing has changed.
    """
    pid, _ = _reserved.get(id(outbox), (0, None))
    if pid == os.getpid():
        raise OutboxError(
            f"another client has this {type(outbox).__name__} open: create one for each client; "
            "several SQLiteOutbox objects may share a file"
        )
    if isinstance(outbox, ServesOneClient):
        outbox.attach(max_attempts)
    _reserved[id(outbox)] = os.getpid(), outbox
    try:
        yield
    finally:
        del _reserved[id(outbox)]


# The task


class _Run:
    """One time that a client is open, from the first `start` to the end of the last step.

    Attributes:
        scope: cancelled to give up opening.
        opened: set when the client is open, or when opening has failed.
        stopping: set when the client is to be closed.
        ended: set when everything is closed.
        was_opened: whether opening succeeded.
        is_used: whether a call of `start` has returned.
        starters: how many calls of `start` wait.
        closers: how many calls of `stop` wait.
        failure: the exception that opening or closing raised.
        pid: the process.
        task: the task that opens and closes.
    """

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.scope = CancelScope()
        self.opened, self.stopping, self.ended = anyio.Event(), anyio.Event(), anyio.Event()
        self.was_opened = self.is_used = False
        self.starters = self.closers = 0
        self.failure: Exception | None = None

    async def join(self) -> None:
        """Wait for the end, however often the caller is cancelled meanwhile."""
        interruption: BaseException | None = None
        while not self.ended.is_set():
            try:
                with CancelScope(shield=True):
                    await self.ended.wait()
            except asyncio.CancelledError as exc:  # by asyncio, which knows no shield
                interruption = exc
        if interruption is not None:
            raise interruption


_runs: set[_Run] = set()
"""Keeps the tasks alive: event loops have only weak references to them."""

_current_run: ContextVar[_Run | None] = ContextVar("anytrack_async_run", default=None)
"""The run of which a task is part: that of a lane, for example."""


class Supervisor:
    """Keeps a context open in a task of its own, so that any task may open it and any may close it.

    A task group must be left by the task that entered it, and it is cancelled with that task. But
    the task that opens a client may end at once, as in a start-up hook or a fixture.

    Args:
        context: returns the context.
        guard: bound while the context is open.
    """

    # task 1    start ───────────┐ returns                        aclose (task 2) ┐      ┌ returns
    #                            │                                                │      │
    # the run        enters the context │ waits …                                 │ leaves it

    def __init__(
        self, context: Callable[[], AbstractAsyncContextManager[None]], guard: LoopGuard
    ) -> None:
        self._context = context
        self._guard = guard
        self._run: _Run | None = None
        self._failure: Exception | None = None

    @property
    def is_open(self) -> bool:
        """Whether the context is being opened, open or being closed by this process."""
        return self._run is not None and not self._guard.is_inherited

    async def start(self) -> None:
        """Enter the context; return when it is open, also if another call has opened it.

        While it is being closed, wait for that and enter it again. If the call is cancelled, and
        none but it has asked for the context, then the context is left again.

        Raises:
            WrongEventLoopError: it is open in another event loop or process, or this is not
                asyncio.
            ClosedError: `stop` was called before it was open.
            Exception: the exception that entering the context raised.
        """
        self._guard.check()
        check_asyncio()
        while self._run is not None and self._run.stopping.is_set():
            await self._run.ended.wait()
        run = self._run or self._begin()
        run.starters += 1
        try:
            await run.opened.wait()
            run.is_used = True
        except asyncio.CancelledError:
            if run.starters == 1 and not run.is_used:
                run.stopping.set()
                run.scope.cancel()
                await run.join()
            raise
        finally:
            run.starters -= 1
        if not run.was_opened:
            raise run.failure or ClosedError("the client was closed while it was being opened")

    def _begin(self) -> _Run:
        run = self._run = _Run()
        self._guard.bind()
        self._failure = None
        _runs.add(run)
        loop = asyncio.get_running_loop()
        run.task = loop.create_task(self._supervise(run), name="anytrack_async client")
        return run

    async def stop(self) -> None:
        """Leave the context and return when that is done, also if the caller is cancelled.

        Several calls may wait; each raises the context's exception. If no context is open, and in a
        forked child, the call does nothing. A task that is part of the context, such as that of a
        sink, cannot wait for its own end: there, the call returns at once.

        Raises:
            WrongEventLoopError: the context is open in another event loop.
            Exception: the exception that leaving the context raised, or that has ended it before.
        """
        if self._guard.is_inherited:
            return
        self._guard.check()
        run = self._run
        if run is None:
            failure, self._failure = self._failure, None
        else:
            run.stopping.set()
            if not run.was_opened:
                run.scope.cancel()
            if _current_run.get() is run:
                return
            run.closers += 1
            await run.join()
            failure = run.failure if run.was_opened else None
        if failure is not None:
            raise failure

    async def _supervise(self, run: _Run) -> None:
        _current_run.set(run)
        cancellation: asyncio.CancelledError | None = None
        try:
            with run.scope:
                async with self._context():
                    run.was_opened = True
                    run.opened.set()
                    await run.stopping.wait()
        except asyncio.CancelledError as exc:
            cancellation = exc
        except Exception as exc:
            run.failure = exc
        finally:
            self._end(run)
        if cancellation is not None:
            if run.was_opened and not run.closers:
                _report_abandoned(*getattr(cancellation, "__notes__", ()))
            raise cancellation

    def _end(self, run: _Run) -> None:
        if run.was_opened and run.failure is not None and not run.stopping.is_set():
            self._failure = run.failure
            logger.error("the client has stopped: %s", _describe(run.failure))
        self._run = None
        self._guard.release()
        _runs.discard(run)
        run.stopping.set()
        run.opened.set()
        run.ended.set()


def _describe(failure: BaseException) -> str:
    if isinstance(failure, BaseExceptionGroup):
        return "; ".join(map(_describe, failure.exceptions))
    return safe_description(failure)


def _report_abandoned(*details: str) -> None:
    """Tell that an event loop has ended, which `asyncio.run` announces by cancelling all tasks."""
    message = (
        "the client was not closed before its event loop ended: use `async with`, or "
        "`await client.aclose()`"
    )
    logger.error("; ".join([message, *details]))
    warnings.warn(message, ResourceWarning, stacklevel=2)


@atexit.register
def _report_abandoned_at_exit() -> None:
    # Clients whose event loop was closed, or forgotten, without cancelling its tasks.
    for run in _runs:
        if run.was_opened and run.pid == os.getpid():
            _report_abandoned("what was not delivered is lost, unless the outbox is on disk")
