"""The same sales for all contenders, as records and conversions; our client for the server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Customer,
    DeliverySettings,
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    MetaSettings,
    MetaSink,
)

Record = dict[str, Any]

_FIRST = ("Anna", "Ben", "Chloe", "David", "Zoë", "Emma", "Finn", "Grace", "Hugo", "Ida", "Jane")
_LAST = ("Smith", "O'Brien", "Müller", "Jones", "Garcia", "Rossi", "Novak", "Ito", "Silva", "Lee")
_SYLLABLES = tuple(f"{a}{b}" for a in "bdfklmnrst" for b in ("a", "el", "in", "o"))
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"


def record(number: int) -> Record:
    """Return sale *number* as a plain record, as a form would submit it."""
    return {
        "order_id": f"order-{number}",
        "revenue": f"{number % 500}.90",
        "currency": "EUR",
        "timestamp": datetime.now(UTC),
        "click_id": f"click-{number}",
        "ip_address": f"198.51.{number // 250 % 250}.{number % 250}",
        "user_agent": _AGENT,
        "page_url": "https://shop.example.com/thanks",
        "email": f" Customer.{number}@Example.com",
        "phone": f"+49 (151) {number:08d}",
        # As many different names as a few ten thousand people have.
        "first_name": f"{_FIRST[number % 11]}{_SYLLABLES[number // 11 % 40]}",
        "last_name": f"{_LAST[number % 10]}{_SYLLABLES[number // 10 % 40]}{number // 400 % 10}",
    }


def records(count: int, first: int = 0) -> list[Record]:
    """Return *count* records."""
    return [record(number) for number in range(first, first + count)]


def conversion(sale: Record) -> Conversion:
    """Return *sale* as a conversion."""
    return Conversion.sale(
        order_id=sale["order_id"],
        revenue=sale["revenue"],
        currency=sale["currency"],
        timestamp=sale["timestamp"],
        click_id=sale["click_id"],
        ip_address=sale["ip_address"],
        user_agent=sale["user_agent"],
        page_url=sale["page_url"],
        customer=Customer(
            email=sale["email"],
            phone=sale["phone"],
            first_name=sale["first_name"],
            last_name=sale["last_name"],
        ),
    )


def conversions(count: int, first: int = 0) -> Iterator[Conversion]:
    """Yield *count* conversions, each made when needed."""
    return (conversion(record(number)) for number in range(first, first + count))


def meta_sink(url: str, **settings: Any) -> MetaSink:
    """Return a sink that sends to the server as to Meta."""
    return MetaSink(MetaSettings(pixel_id="1", access_token="token", base_url=url, **settings))


def hubspot_sink(url: str, **settings: Any) -> HubSpotSink:
    """Return a sink that sends to the server as to HubSpot, without the ten-second limit."""
    return HubSpotSink(
        HubSpotSettings(access_token="token", base_url=url, rate_limit=10**9, **settings)
    )


def client(url: str, *, http: HttpSettings | None = None, **options: Any) -> AnyTrackClient:
    """Return a client of the server that delivers everything before it closes."""
    options = {"delivery": DeliverySettings(drain=900.0), "log": False, **options}
    return AnyTrackClient("key", "account", base_url=f"{url}/v1", http=http, **options)
