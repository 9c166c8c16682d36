"""Ctrl-C and SIGTERM while a command has a client open.

    in memory   the first signal ends the work, and closing delivers for `DeliverySettings.drain`
                seconds; the second signal ends that too, and an error names the lost conversions
    on disk     after the first signal, requests in flight have a second to end (ten after SIGTERM,
                as supervisors wait longer than people); the second signal cuts them off

A third signal ends the process, as if this module did not exist.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio.abc import TaskStatus

from anytrack_async.cli.output import Interrupted, write_error
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import OutboxError, UndeliveredError

_SECONDS_TO_LEAVE = {signal.SIGINT: 1.0, signal.SIGTERM: 10.0}
"""Signal → seconds in which requests in flight may end before an outbox on disk is left."""

_COUNTING = 0.5  # seconds; an outbox that another process has locked is left uncounted


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let a block end in good order when SIGTERM interrupts it, unless conversions are lost."""
    try:
        yield
    except Interrupted as exc:
        if exc.signal != signal.SIGTERM or exc.__cause__ is not None:
            raise
        write_error("stopped by SIGTERM", label="note")


@asynccontextmanager
async def interruptible(
    client: AnyTrackClient, outbox: str | None, *, quiet: bool = False
) -> AsyncIterator[None]:
    """Open *client* for a block that Ctrl-C and SIGTERM end.

    Args:
        client: closed again after the block.
        outbox: path of its outbox file; None for an outbox in memory.
        quiet: say nothing about the conversions that wait.

    Raises:
        Interrupted: a signal ended the block, or the opening; its cause is the `UndeliveredError`
            if conversions are lost.
    """
    stopper = _Stopper(client, outbox, quiet=quiet)
    failure: Exception | None = None
    async with anyio.create_task_group() as tg:
        await tg.start(stopper.watch)
        try:
            with stopper.scope:
                async with client:
                    with stopper.work():
                        yield
        except Exception as exc:
            failure = exc  # raised below, where no group wraps it
        tg.cancel_scope.cancel()
    if stopper.signal is not None and isinstance(failure, UndeliveredError | None):
        raise Interrupted(stopper.signal) from failure
    if failure is not None:
        raise failure


class _Stopper:
    """Waits for signals; ends the opening or the work by the first, and closing by the second.

    Attributes:
        signal: the first signal, once there was one.
        scope: the scope that the first signal cancels.
    """

    def __init__(self, client: AnyTrackClient, outbox: str | None, *, quiet: bool) -> None:
        self.signal: signal.Signals | None = None
        self.scope = anyio.CancelScope()
        self._client = client
        self._outbox = outbox
        self._quiet = quiet

    @contextmanager
    def work(self) -> Iterator[None]:
        """Let a signal end the block, but not the closing of the client after it."""
        # A signal that came too late to end the opening has cancelled the scope around this one.
        self.scope = anyio.CancelScope()
        with self.scope:
            yield

    async def watch(self, *, task_status: TaskStatus[None]) -> None:
        """Handle two signals."""
        if sys.platform == "win32":  # pragma: no cover - Ctrl-C raises KeyboardInterrupt there
            task_status.started()
            return
        with anyio.open_signal_receiver(*_SECONDS_TO_LEAVE) as signals:
            task_status.started()
            async for number in signals:
                if self.signal is not None:
                    self._client.limit_drain(0)
                    return
                self.signal = number
                await self._stop(number)

    async def _stop(self, number: signal.Signals) -> None:
        if self._outbox is not None:
            self._client.limit_drain(_SECONDS_TO_LEAVE[number])
        count = None if self._quiet else await self._count()
        self.scope.cancel()
        if count:
            write_error(self._message(count), label="interrupted")

    async def _count(self) -> int | None:
        """Return how many conversions some destination does not have yet; None if unknown."""
        with anyio.move_on_after(_COUNTING):
            try:
                depths = await self._client.outbox.depths()
            except OutboxError:  # not open yet
                return None
            return max((depth.waiting for depth in depths.values()), default=0)
        return None

    def _message(self, count: int) -> str:
        conversions = f"{count:,} conversion" + ("s" if count > 1 else "")
        if self._outbox is None:
            return f"finishing {conversions}; press Ctrl-C again to stop at once"
        return (
            f"{conversions} not delivered yet, kept in {self._outbox}: `anytrack deliver`, or the "
            "next client that opens it, continues"
        )
