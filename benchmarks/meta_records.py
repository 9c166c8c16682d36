"""Row 15: row 1 from raw records, without e-mail addresses: made, sent and confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from anytrack_async import Conversion, Customer
from benchmarks import facebook
from benchmarks.measure import Row, interleaved, rates
from benchmarks.ours import BATCH, deliver
from benchmarks.server import Server, running
from benchmarks.shop import Record, client, meta_sink

NUMBER = 15
NEEDS = ("facebook_business",)
TARGET = 2.2

_OURS, _MADE = "anytrack_async", "anytrack_async, made beforehand"
_THEIRS = "EventRequest"
_AGENTS = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 Chrome/{version}.0 Safari/537.36"
    for system in ("X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X")
    for version in range(110, 141)
)
_SOURCES = ("google", "facebook", "newsletter", "tiktok", "direct")
_PLANS = ("free", "basic", "pro")


def record(number: int) -> Record:
    """Return sale *number* as a row of a shop's database."""
    return {
        "order_id": f"order-{number}",
        "click_id": f"click-{number}",
        "revenue": f"{number % 500}.90",
        "currency": "EUR",
        "source": _SOURCES[number % len(_SOURCES)],
        "campaign_id": f"campaign-{number % 200}",
        "ip_address": f"93.{number // 62_500 % 250}.{number // 250 % 250}.{number % 250}",
        "user_agent": _AGENTS[number % len(_AGENTS)],
        "timestamp": datetime.now(UTC),
        "plan": _PLANS[number % len(_PLANS)],
        "seats": number % 40,
        "discount": number % 20 / 100,
        "external_id": f"user-{number % 9_973}",
    }


def conversion(sale: Record) -> Conversion:
    """Return *sale* as a conversion."""
    return Conversion.sale(
        order_id=sale["order_id"],
        click_id=sale["click_id"],
        revenue=sale["revenue"],
        currency=sale["currency"],
        source=sale["source"],
        campaign_id=sale["campaign_id"],
        ip_address=sale["ip_address"],
        user_agent=sale["user_agent"],
        timestamp=sale["timestamp"],
        custom_data=_custom(sale),
        customer=Customer(external_id=sale["external_id"]),
    )


def event(sale: Record) -> Any:
    """Return *sale* as an `Event` of `facebook-business`, with the values that Meta receives."""
    from facebook_business.adobjects.serverside.action_source import ActionSource
    from facebook_business.adobjects.serverside.custom_data import CustomData
    from facebook_business.adobjects.serverside.event import Event
    from facebook_business.adobjects.serverside.user_data import UserData

    return Event(
        event_name="Purchase",
        event_time=int(sale["timestamp"].timestamp()),
        event_id=f"sale:{sale['order_id']}",
        action_source=ActionSource.WEBSITE,
        user_data=UserData(
            client_ip_address=sale["ip_address"],
            client_user_agent=sale["user_agent"],
            external_id=sale["external_id"],
        ),
        custom_data=CustomData(
            value=float(sale["revenue"]),
            currency=sale["currency"],
            order_id=sale["order_id"],
            custom_properties=_custom(sale),
        ),
    )


def _custom(sale: Record) -> dict[str, Any]:
    return {"plan": sale["plan"], "seats": sale["seats"], "discount": sale["discount"]}


def run(quick: bool) -> Row:
    """Compare conversions a second; making the objects is part of the work."""
    sales = [record(number) for number in range(4_000 if quick else 20_000)]
    made = [conversion(sale) for sale in sales]
    with running() as server, facebook.redirected_to(server.url):
        costs = interleaved(
            {
                _OURS: partial(ours, server, sales),
                _MADE: partial(_deliver, server, made),
                _THEIRS: partial(_theirs, sales),
            },
            rounds=5 if quick else 9,
        )
    ratio = costs[_THEIRS].wall / costs[_OURS].wall
    return Row(
        number=NUMBER,
        measure="row 1 from raw records with three custom values and an external id, no e-mail "
        "address; making the objects included",
        against="facebook-business `EventRequest`, 1,000 a request, from the same records",
        target=f"≥ {TARGET} ×",
        result=f"{ratio:.1f} × (of the core: {costs[_THEIRS].cpu / costs[_OURS].cpu:.1f} ×)",
        reached=ratio >= TARGET,
        details=rates(costs, "conversions"),
    )


async def ours(server: Server, sales: Sequence[Record]) -> int:
    """Make conversions of *sales* and deliver them; return how many."""
    return await _deliver(server, [conversion(sale) for sale in sales])


async def _deliver(server: Server, sales: Sequence[Conversion]) -> int:
    return await deliver(client(server.url, sinks=[meta_sink(server.url)]), sales, ["meta"])


def _theirs(sales: Sequence[Record]) -> int:
    return facebook.send([event(sale) for sale in sales], BATCH)
