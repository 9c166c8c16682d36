"""Other trackers' clients, sending the same sales: with their defaults, and at their best.

Each function takes a server's URL and records and returns the number accepted: once all have a
response, or at once without *wait*. They send values unchanged, as only Meta's clients normalise
and hash; a caller of `snowplow` can pass a function that does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.shop import Record


def _properties(sale: Record) -> dict[str, Any]:
    names = ("order_id", "revenue", "currency", "email", "phone", "first_name", "last_name")
    return {name: sale[name] for name in (*names, "ip_address", "user_agent", "page_url")}


def posthog(url: str, sales: Iterable[Record], *, wait: bool = True, **settings: Any) -> int:
    """PostHog's threaded client."""
    from posthog import Posthog

    client = Posthog("phc_key", host=url, **settings)
    accepted = 0
    for sale in sales:
        sent = client.capture("sale", distinct_id=sale["email"], properties=_properties(sale))
        accepted += sent is not None
    if wait:
        client.shutdown()
    return accepted


async def posthog_async(url: str, sales: Iterable[Record], **settings: Any) -> int:
    """PostHog's asynchronous client."""
    import asyncio

    from posthog.async_client import AsyncPosthog

    accepted = 0
    async with AsyncPosthog("phc_key", host=url, **settings) as client:
        for sale in sales:
            sent = client.capture("sale", distinct_id=sale["email"], properties=_properties(sale))
            accepted += sent is not None
            if accepted % 100 == 0:
                await asyncio.sleep(0)
        await client.flush(timeout_seconds=None)
    return accepted


def segment(url: str, sales: Iterable[Record], *, wait: bool = True, **settings: Any) -> int:
    """Segment's client."""
    from segment.analytics import Client

    client = Client("key", host=url, **settings)
    accepted = 0
    for sale in sales:
        ok, _ = client.track(user_id=sale["email"], event="sale", properties=_properties(sale))
        accepted += ok
    if wait:
        client.flush()
        client.join()
    return accepted


def amplitude(url: str, sales: Iterable[Record], *, wait: bool = True, **settings: Any) -> int:
    """Amplitude's client."""
    from amplitude import Amplitude, BaseEvent, Config
    from amplitude.constants import EventLogLevel

    sent = threading.Semaphore(0)
    quiet = {"event_log_level": EventLogLevel.NONE, "callback": lambda *_: sent.release()}
    client = Amplitude("key", Config("key", server_url=f"{url}/2/httpapi", **quiet, **settings))
    accepted = 0
    for sale in sales:
        client.track(BaseEvent("sale", user_id=sale["email"], event_properties=_properties(sale)))
        accepted += 1
    if wait:
        client.flush()
        for _ in range(accepted):
            sent.acquire(timeout=60)
        client.shutdown()
    return accepted


def snowplow(
    url: str,
    sales: Iterable[Record],
    *,
    wait: bool = True,
    properties: Callable[[Record], dict[str, Any]] = _properties,
    **settings: Any,
) -> int:
    """Snowplow's client; *properties* turns a record into the values to send."""
    from snowplow_tracker import AsyncEmitter, SelfDescribing, SelfDescribingJson, Tracker

    logging.getLogger("snowplow_tracker.emitters").setLevel(logging.ERROR)
    emitter = AsyncEmitter(url, **settings)
    tracker = Tracker("sp", emitters=[emitter], encode_base64=False)
    accepted = 0
    for sale in sales:
        event = SelfDescribingJson("iglu:a/sale/jsonschema/1-0-0", properties(sale))
        tracker.track(SelfDescribing(event))
        accepted += 1
    if wait:
        tracker.flush()
        emitter.queue.join()
    return accepted
