"""What a task waits for while a thread works for it: a `Ticket`."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Ticket: TypeAlias = "Future[_T]"
"""Awaited by one task; cancelling that task takes no other task's answer away."""


def new_ticket() -> Ticket[_T]:
    """Return a ticket for the running task.

    A future of asyncio's own: each conversion has its ticket, and an `anyio.Event` for each would
    take half as long as encoding does.
    """
    return get_running_loop().create_future()


def hand_out(results: Iterable[tuple[Ticket[_T], _T]]) -> None:
    """Give each ticket its result, and wake who waits for it; called in any thread."""
    loops: dict[AbstractEventLoop, list[tuple[Ticket[_T], _T]]] = {}
    for ticket, result in results:
        loops.setdefault(ticket.get_loop(), []).append((ticket, result))
    for loop, some in loops.items():
        with suppress(RuntimeError):  # it is closed, and who waited is gone with it
            loop.call_soon_threadsafe(_settle, some)


def _settle(results: Sequence[tuple[Ticket[_T], _T]]) -> None:
    for ticket, result in results:
        if not ticket.done():  # as it is when its task was cancelled
            ticket.set_result(result)
