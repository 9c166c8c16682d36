"""`Conversions`: the endpoint that reads conversions back from AnyTrack."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Set
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from anytrack_async.codec.converter import load
from anytrack_async.destinations.anytrack.api.base import (
    DateRange,
    Endpoint,
    TimeRange,
    count_argument,
    fetch_in_order,
    id_argument,
    read_data,
    read_fields,
    text_argument,
)
from anytrack_async.errors import DecodeError, InvalidArgumentError, ResponseLimitError
from anytrack_async.models.answers import RecordedConversion
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.transport.message import only_item

_DAY = timedelta(days=1)
_MAX_DEPTH = 200  # levels of custom data; JSON Lines can have 254
_FIELDS = frozenset(
    (
        *("id", "click_id", "conversion_type", "event_name", "revenue", "currency", "timestamp"),
        *("order_id", "source", "campaign_id", "ad_id", "sub_ids", "custom_data"),
        *("ip_address", "user_agent", "page_url"),
    )
)
"""Fields of AnyTrack's conversion records; any others are ignored."""


class Conversions(Endpoint):
    """`/conversions`: the tracked conversions, each a `RecordedConversion`."""

    async def list(
        self,
        date_range: DateRange | None = None,
        source: str | None = None,
        campaign_id: str | None = None,
    ) -> builtins.list[Conversion]:
        """Return the conversions of a range, all in memory; use `stream` for long ranges.

        A list that is longer than `ResponseLimits.max_body` is requested in parts of the range.
        An unreadable record is left out, and logged with its id and the reason.

        Args:
            date_range: first and last moment, both included; default: the last 30 days.
            source: only conversions from this source.
            campaign_id: only conversions of this campaign.

        Raises:
            InvalidArgumentError: an argument is not valid; the message names it.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /conversions``.
        """
        return await self._fetch(TimeRange.from_argument(date_range), _filters(source, campaign_id))

    async def by_source(
        self, source: str, date_range: DateRange | None = None
    ) -> builtins.list[Conversion]:
        """Return the conversions that came from *source*; see `list`."""
        return await self.list(date_range=date_range, source=text_argument("source", source))

    async def get(self, conversion_id: str) -> Conversion:
        """Return one conversion.

        Raises:
            NotFoundError: AnyTrack has no such conversion.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: the response or the record cannot be read; the message names the field.

        Source: AnyTrack REST, ``GET /conversions/{id}``.
        """
        conversion_id = id_argument("conversion_id", conversion_id)
        body = await self._session.get("conversions", conversion_id)
        return read_conversion(only_item(read_data(body)))

    def stream(
        self,
        date_range: DateRange | None = None,
        source: str | None = None,
        campaign_id: str | None = None,
        window: timedelta = _DAY,
        concurrency: int = 4,
    ) -> AsyncGenerator[Conversion, None]:
        """Yield the conversions of a range one at a time, in order of time, in flat memory.

        The range is split into windows. *concurrency* windows are requested at once, and the next
        windows once the caller has taken all of their conversions. An unreadable record is left
        out, and logged with its id and the reason.

        Args:
            date_range: first and last moment, both included; default: the last 30 days.
            source: only conversions from this source.
            campaign_id: only conversions of this campaign.
            window: length of a window; each window is one request, or several if its list is longer
                than `ResponseLimits.max_body`.
            concurrency: number of windows requested at once, and so kept in memory at once.

        Raises:
            InvalidArgumentError: an argument is not valid; the message names it. Raised at once.
            ServiceError: the matching subclass, after the last retry.
            DecodeError: a response cannot be read.

        Source: AnyTrack REST, ``GET /conversions``.
        """
        concurrency = count_argument("concurrency", concurrency)
        windows = TimeRange.from_argument(date_range).split(_length(window))
        return self._stream(windows, _filters(source, campaign_id), concurrency)

    async def _stream(
        self, windows: Iterable[TimeRange], filters: dict[str, str], concurrency: int
    ) -> AsyncGenerator[Conversion, None]:
        async def fetch(window: TimeRange) -> builtins.list[Conversion]:
            return await self._fetch(window, filters)

        seen_ids: set[str] = set()
        async with aclosing(fetch_in_order(fetch, windows, concurrency)) as results:
            async for conversions in results:
                for conversion in _unseen(conversions, seen_ids):
                    yield conversion
                # Only neighbouring windows overlap, so the ids of the last window are enough.
                seen_ids = {item.id for item in conversions if item.id is not None}

    async def _fetch(self, window: TimeRange, filters: dict[str, str]) -> builtins.list[Conversion]:
        # A list that is too long for a response is read in two halves, and these in halves again:
        # 20 MB with a limit of 8 MiB are four requests for a quarter each. A service that sends
        # without end is asked some twenty times, until a range is a second short.
        params = window.params | filters
        try:
            return await self._get_list("conversions", params=params, read=read_conversion)
        except ResponseLimitError as exc:
            halves = window.halves()
            if exc.setting != "max_body" or halves is None:
                raise
        earlier, later = [await self._fetch(half, filters) for half in halves]
        ids = {item.id for item in earlier if item.id is not None}
        return earlier + [item for item in later if item.id not in ids]


def _filters(source: str | None, campaign_id: str | None) -> dict[str, str]:
    filters = {"source": source, "campaign_id": campaign_id}
    return {
        name: text_argument(name, value) for name, value in filters.items() if value is not None
    }


def _length(window: Any) -> timedelta:
    if not isinstance(window, timedelta) or window <= timedelta():
        raise InvalidArgumentError("window", "must be a timedelta greater than 0")
    return window


def _unseen(conversions: Iterable[Conversion], seen_ids: Set[str]) -> Iterator[Conversion]:
    """Yield *conversions* in order of time, without repeats and without the ids in *seen_ids*."""
    ids = set(seen_ids)
    for conversion in sorted(conversions, key=lambda conversion: conversion.timestamp):
        if conversion.id is None:
            yield conversion
        elif conversion.id not in ids:
            ids.add(conversion.id)
            yield conversion


# Records


def read_conversion(record: Mapping[str, Any]) -> RecordedConversion:
    """Return the conversion in a record of AnyTrack.

    An unknown conversion type becomes a custom event of that name. The event id is the id that was
    sent with the conversion; without it, ``"anytrack:<id>"``.

    Raises:
        DecodeError: the record is not a conversion.
    """
    fields = read_fields(record, "sub_ids")
    values = {name: value for name, value in fields.items() if name in _FIELDS}
    if "timestamp" not in values:  # the model's default would be the present time
        raise DecodeError("RecordedConversion: field 'timestamp' is missing @ $.timestamp")
    custom_data = values.get("custom_data")
    _check_depth(custom_data)
    # `to_payload` sends the event id and the event's name in the custom data.
    extra: Mapping[str, Any] = read_fields(custom_data) if isinstance(custom_data, Mapping) else {}
    values |= _read_type(values.get("conversion_type", "unknown"), extra.get("event_name"))
    values |= _read_event_id(extra.get("event_id"), fields.get("event_id"), values.get("id"))
    return load(values, RecordedConversion)


def _read_type(kind: object, event_name: object) -> dict[str, Any]:
    if not isinstance(kind, str | int) or isinstance(kind, bool):
        raise DecodeError("RecordedConversion: must be text @ $.conversion_type")
    name = str(kind)
    if name.lower() not in set(ConversionType):
        return {"conversion_type": ConversionType.CUSTOM, "event_name": name}
    values: dict[str, Any] = {"conversion_type": name.lower()}
    return values | {"event_name": event_name} if isinstance(event_name, str) else values


def _read_event_id(sent: object, recorded: object, anytrack_id: object) -> dict[str, Any]:
    for event_id in (sent, recorded):
        if isinstance(event_id, str | int) and not isinstance(event_id, bool):
            return {"event_id": event_id}
    return {} if anytrack_id is None else {"event_id": f"anytrack:{anytrack_id}"}


def _check_depth(custom_data: object) -> None:
    values = [custom_data]
    for _ in range(_MAX_DEPTH):
        # `{"a": {"b": [1]}, "c": 2}` → `[{"b": [1]}]` → `[[1]]` → `[]`
        values = [item for value in values for item in _items(value) if _items(item)]
        if not values:
            return
    raise DecodeError("RecordedConversion: is nested too deeply @ $.custom_data")


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, builtins.list) else ()
