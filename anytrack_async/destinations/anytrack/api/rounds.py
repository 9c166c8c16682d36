"""`in_order`: several requests at once, their results in order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

import anyio

_K = TypeVar("_K")
_T = TypeVar("_T")


async def in_order(
    fetch: Callable[[_K], Awaitable[_T]], keys: Iterable[_K], width: int
) -> AsyncGenerator[_T, None]:
    """Yield ``await fetch(key)`` for each of *keys*, in order, up to *width* at once.

    Fetches round by round: while the consumer has the turn, nothing runs. So it may stop, or be
    cancelled, at any point and leaves no task behind.
    """
    rest = iter(keys)
    while keys_now := list(islice(rest, width)):
        for result in await _together(fetch, keys_now):
            yield result


async def _together(fetch: Callable[[_K], Awaitable[_T]], keys: Sequence[_K]) -> Sequence[_T]:
    results: dict[int, _T] = {}
    failures: list[Exception] = []

    async def one(at: int, key: _K) -> None:
        try:
            results[at] = await fetch(key)
        except Exception as exc:
            failures.append(exc)  # raised below, outside of the group
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for at, key in enumerate(keys):
            tasks.start_soon(one, at, key)
    if failures:
        raise failures[0]
    return [results[at] for at in range(len(keys))]
