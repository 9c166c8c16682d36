"""Reading what callers give to `track_many`: batches of any sync or async iterable."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from anytrack_async.models import Conversion

Source: TypeAlias = Iterable[Conversion] | AsyncIterable[Conversion]
"""Anything that gives conversions one after another."""

Take: TypeAlias = Callable[[Sequence[Conversion]], Awaitable[None]]


async def feed(source: Source, take: Take, size: int) -> None:
    """Hand everything in *source* to *take*, in order, at most *size* at a time.

    A list or tuple is read where it is. Any other sync iterable may read a file or a database, so
    it is advanced in a worker thread, *size* items at a time. What an async one gives is handed on
    as soon as *take* is free: an item never waits for the next one.

    Raises:
        TypeError: something in it is no `Conversion`; everything before it was handed on.
    """
    if isinstance(source, AsyncIterable):
        await _feed_async(source, take, size)
    elif isinstance(source, Sequence):
        for start in range(0, len(source), size):
            await _pass_on(source[start : start + size], take)
    else:
        items = iter(source)
        while batch := await to_thread.run_sync(_advance, items, size):
            await _pass_on(batch, take)


def _advance(items: Iterable[Any], size: int) -> list[Any]:
    return list(islice(items, size))


async def _pass_on(batch: Sequence[Any], take: Take) -> None:
    for at, item in enumerate(batch):
        if not isinstance(item, Conversion):
            if at:
                await take(batch[:at])
            raise TypeError(f"track_many takes Conversion objects, got {type(item).__name__}")
    await take(batch)


async def _feed_async(source: AsyncIterable[Any], take: Take, size: int) -> None:
    reader = _Reader(source, size)
    async with anyio.create_task_group() as tg:
        tg.start_soon(reader.read)
        try:
            while batch := await reader.batch():
                await _pass_on(batch, take)
        except Exception as exc:
            reader.failure = exc
            tg.cancel_scope.cancel()
    if reader.failure is not None:
        raise reader.failure  # outside the task group, so that it is in none


class _Reader:
    """Reads ahead of who takes, by at most *size* items."""

    def __init__(self, source: AsyncIterable[Any], size: int) -> None:
        self.failure: Exception | None = None
        self._source = source
        self._size = size
        self._items: list[Any] = []
        self._news = anyio.Event()
        self._space = anyio.Event()
        self._ended = False

    async def read(self) -> None:
        try:
            async for item in self._source:
                self._items.append(item)
                self._news.set()
                if len(self._items) >= self._size:
                    self._space = anyio.Event()
                    await self._space.wait()
        except Exception as exc:
            self.failure = exc
        self._ended = True
        self._news.set()

    async def batch(self) -> list[Any]:
        """Return what has come, at least one item; none at the end."""
        if not self._items and not self._ended:
            await self._news.wait()
        items, self._items = self._items, []
        self._news = anyio.Event()
        self._space.set()
        return items
