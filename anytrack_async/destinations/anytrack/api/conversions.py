"""`Conversions`: reading conversions back."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Iterable, Iterator, Set
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from anytrack_async.destinations.anytrack.api.base import (
    Endpoint,
    at_least_one,
    given,
    identifier,
    unwrap,
)
from anytrack_async.destinations.anytrack.api.date_range import DateRange, Window
from anytrack_async.destinations.anytrack.api.rounds import in_order
from anytrack_async.destinations.anytrack.records import read_conversion
from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.conversion import Conversion

_DAY = timedelta(days=1)


class Conversions(Endpoint):
    """`/conversions`: what was tracked."""

    async def list(
        self,
        date_range: DateRange | None = None,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> builtins.list[Conversion]:
        """Return the conversions of a range, all in memory; see `stream` for long ranges.

        A record that cannot be read is logged and left out.

        Args:
            date_range: first and last moment, both included; the last 30 days if not given.
            source: only those from there.
            campaign_id: only those of this campaign.

        Raises:
            InvalidArgumentError: an argument is wrong; the message names it.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /conversions``.
        """
        return await self._fetch(Window.of(date_range), _filters(source, campaign_id))

    async def by_source(
        self, source: str, date_range: DateRange | None = None
    ) -> builtins.list[Conversion]:
        """Return the conversions that came from *source*; see `list`."""
        return await self.list(date_range=date_range, source=given("source", source))

    async def get(self, conversion_id: str) -> Conversion:
        """Return one conversion.

        Raises:
            NotFoundError: AnyTrack has no such conversion.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /conversions/{id}``.
        """
        conversion_id = identifier("conversion_id", conversion_id)
        return read_conversion(unwrap(await self._session.get("conversions", conversion_id)))

    def stream(
        self,
        date_range: DateRange | None = None,
        source: str | None = None,
        campaign_id: str | None = None,
        window: timedelta = _DAY,
        concurrency: int = 4,
    ) -> AsyncGenerator[Conversion, None]:
        """Return the conversions of a range one by one, in order of time, in flat memory.

        Asks for *concurrency* windows at a time, and for the next ones when these are used up.

        Args:
            date_range: first and last moment, both included; the last 30 days if not given.
            source: only those from there.
            campaign_id: only those of this campaign.
            window: the stretch of time asked for with one request.
            concurrency: requests at once; as many windows are in memory.

        Raises:
            InvalidArgumentError: an argument is wrong; the message names it. At once.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: a response cannot be read.

        Source: AnyTrack REST, ``GET /conversions``.
        """
        width = at_least_one("concurrency", concurrency)
        windows = Window.of(date_range).split(_size(window))
        return self._stream(windows, _filters(source, campaign_id), width)

    async def _stream(
        self, windows: Iterable[Window], filters: dict[str, str], concurrency: int
    ) -> AsyncGenerator[Conversion, None]:
        async def fetch(part: Window) -> builtins.list[Conversion]:
            return await self._fetch(part, filters)

        seen: set[str] = set()
        async with aclosing(in_order(fetch, windows, concurrency)) as rounds:
            async for found in rounds:
                for one in _unseen(found, seen):
                    yield one
                # Neighbours share their border, so the ids of one window are all to remember.
                seen = {one.id for one in found if one.id is not None}

    async def _fetch(self, part: Window, filters: dict[str, str]) -> builtins.list[Conversion]:
        return await self._list("conversions", params=part.params | filters, read=read_conversion)


def _filters(source: str | None, campaign_id: str | None) -> dict[str, str]:
    filters = {"source": source, "campaign_id": campaign_id}
    return {name: given(name, value) for name, value in filters.items() if value is not None}


def _size(window: Any) -> timedelta:
    if not isinstance(window, timedelta) or window <= timedelta():
        raise InvalidArgumentError("window", "must be a timedelta of more than 0")
    return window


def _unseen(found: Iterable[Conversion], seen: Set[str]) -> Iterator[Conversion]:
    known = set(seen)
    for one in sorted(found, key=lambda conversion: conversion.timestamp):
        if one.id is None:
            yield one
        elif one.id not in known:
            known.add(one.id)
            yield one
