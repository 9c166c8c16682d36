"""The same sales through `facebook-business`, as in its own examples."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.shop import Record


@contextmanager
def redirected_to(url: str) -> Iterator[None]:
    """Send the requests of `facebook-business` to *url* inside the block."""
    from facebook_business.api import FacebookAdsApi
    from facebook_business.session import FacebookSession

    FacebookAdsApi.init(access_token="token", crash_log=False)
    original, FacebookSession.GRAPH = FacebookSession.GRAPH, url
    yield
    FacebookSession.GRAPH = original


def event(sale: Record) -> Any:
    """Return *sale* as an `Event` of `facebook-business`."""
    from facebook_business.adobjects.serverside.action_source import ActionSource
    from facebook_business.adobjects.serverside.custom_data import CustomData
    from facebook_business.adobjects.serverside.event import Event
    from facebook_business.adobjects.serverside.user_data import UserData

    return Event(
        event_name="Purchase",
        event_time=int(sale["timestamp"].timestamp()),
        event_id=f"sale:{sale['order_id']}",
        event_source_url=sale["page_url"],
        action_source=ActionSource.WEBSITE,
        user_data=UserData(
            email=sale["email"],
            phone=sale["phone"],
            first_name=sale["first_name"],
            last_name=sale["last_name"],
            client_ip_address=sale["ip_address"],
            client_user_agent=sale["user_agent"],
        ),
        custom_data=CustomData(
            value=float(sale["revenue"]), currency=sale["currency"], order_id=sale["order_id"]
        ),
    )


def send(events: Sequence[Any], batch: int) -> int:
    """Send *events* with `EventRequest`, one request of *batch* after the other."""
    from facebook_business.adobjects.serverside.event_request import EventRequest

    for start in range(0, len(events), batch):
        chunk = list(events[start : start + batch])
        response = EventRequest(pixel_id="1", events=chunk).execute()
        assert response.events_received == len(chunk)
    return len(events)


async def send_async(events: Sequence[Any], batch: int, at_once: int) -> int:
    """Send *events* with `EventRequestAsync`, *at_once* requests of *batch* at a time."""
    from facebook_business.adobjects.serverside.event_request_async import EventRequestAsync

    slots = asyncio.Semaphore(at_once)

    async def send_chunk(start: int) -> None:
        async with slots:
            chunk = list(events[start : start + batch])
            response = await EventRequestAsync(pixel_id="1", events=chunk).execute()
            assert response.events_received == len(chunk)

    await asyncio.gather(*(send_chunk(start) for start in range(0, len(events), batch)))
    return len(events)


def send_batches(events: Sequence[Any]) -> int:
    """Send *events* with its `BatchProcessor` as it is: 50 a request, 4 at once."""
    from facebook_business.adobjects.serverside.batch_processor import BatchProcessor
    from facebook_business.adobjects.serverside.event_request_async import EventRequestAsync

    BatchProcessor().process_events(EventRequestAsync(pixel_id="1", events=[]), list(events))
    return len(events)
