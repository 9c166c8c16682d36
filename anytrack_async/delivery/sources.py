"""Reading what callers give to `track_many`: batches of any sync or async iterable."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from anytrack_async.errors import DeliveryError
from anytrack_async.models.conversion import Conversion

_PATIENCE = 0.05
"""Seconds after which a thread hands on what a slow source gave."""

Source: TypeAlias = Iterable[Conversion] | AsyncIterable[Conversion]
"""Anything that gives conversions one after another."""

Take: TypeAlias = Callable[[Sequence[Conversion]], Awaitable[None]]


async def feed(source: Source, take: Take, size: int) -> None:
    """Hand everything in *source* to *take*, in order, at most *size* at a time.

    A list or tuple is read where it is. Any other sync iterable may read a file or a database, so
    it is advanced in a worker thread: *size* items at a time, or what comes in 50 ms. What an async
    one gives is handed on as soon as *take* is free: an item never waits for the next one.

    Raises:
        TypeError: something in it is no `Conversion`; everything before it was handed on.
        Exception: what *source* raised; everything before it was handed on.
    """
    if isinstance(source, AsyncIterable):
        await _feed_async(source, take, size)
    elif isinstance(source, list | tuple):
        for start in range(0, len(source), size):
            await _pass_on(source[start : start + size], take)
    else:
        await _feed_sync(source, take, size)


async def _feed_sync(source: Iterable[Any], take: Take, size: int) -> None:
    items, failure, ended = iter(source), None, False
    while not ended:
        # Whoever cancels does not wait for a source that is stuck.
        batch, failure, ended = await to_thread.run_sync(
            _advance, items, size, abandon_on_cancel=True
        )
        await _pass_on(batch, take)
    if failure is not None:
        raise failure


def _advance(items: Iterator[Any], size: int) -> tuple[list[Any], Exception | None, bool]:
    batch: list[Any] = []
    until = time.monotonic() + _PATIENCE
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size or time.monotonic() > until:
                return batch, None, False
    except Exception as exc:  # with what came before it
        return batch, exc, True
    return batch, None, True


async def _pass_on(batch: Sequence[Any], take: Take) -> None:
    for at, item in enumerate(batch):
        if not isinstance(item, Conversion):
            if at:
                await take(batch[:at])
            raise TypeError(f"track_many takes Conversion objects, got {type(item).__name__}")
    if batch:
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
        self.failure = DeliveryError("the source of track_many was cancelled before its end")
        try:
            await self._read()
            self.failure = None
        except Exception as exc:
            self.failure = exc
        finally:
            self._ended = True
            self._news.set()

    async def _read(self) -> None:
        async for item in self._source:
            self._items.append(item)
            self._news.set()
            if len(self._items) >= self._size:
                self._space = anyio.Event()
                await self._space.wait()

    async def batch(self) -> list[Any]:
        """Return what has come, at least one item; none at the end."""
        if not self._items and not self._ended:
            await self._news.wait()
        items, self._items = self._items, []
        self._news = anyio.Event()
        self._space.set()
        return items
