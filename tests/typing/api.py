"""Typical use, as a type checker sees it: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import httpx
import psycopg
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

import anytrack_async
from anytrack_async import (
    AffiliatePerformance,
    AnyTrack,
    AnyTrackClient,
    AnyTrackSettings,
    Attribution,
    Conversion,
    ConversionType,
    Customer,
    DailyReport,
    DeadLetterError,
    Delivery,
    DeliverySettings,
    DeliveryTimeoutError,
    Event,
    HttpSettings,
    HubSpotSettings,
    HubSpotSink,
    LineItem,
    MemoryOutbox,
    MetaFields,
    MetaSettings,
    MetaSink,
    Observer,
    Outbox,
    Outcome,
    QueueFullError,
    RateLimitedError,
    Receipt,
    RecordedConversion,
    Report,
    Retry,
    Sink,
    SinkLimits,
    SQLiteOutbox,
    Stats,
    Touchpoint,
    new_event_id,
    to_records,
)

# Models


def models() -> None:
    sale = Conversion.sale(
        revenue="49.90",
        currency="EUR",
        order_id="1001",
        click_id="c1",
        product_id="p1",
        timestamp=datetime.now(UTC),
        items=[LineItem(id="p1", quantity=2, price=24.95)],
        customer=Customer(
            email="jane@example.com",
            phone=["+49 30 1234567", 49301234567],
            first_name=("Jane", None),
            birth_date=date(1990, 2, 3),
            external_id=17,
            fbc="fb.1.2.3",
        ),
        meta=MetaFields(
            action_source="app",
            event_name="Subscribe",
            opt_out=None,
            data_processing_options=("LDU",),
            data_processing_options_state=1000,
            user_data={"lead_id": 5, "extra": {"newer": [1]}},
            custom_data={
                "net_revenue": Decimal(5),
                "predicted_ltv": "10.50",
                "content_ids": ["p1", 2],
                "contents": [{"id": "p1", "item_price": 9.9, "delivery_category": "curbside"}],
            },
            original_event_data={"event_time": datetime.now(UTC)},
            extra={"later": 1},
        ),
        sub_ids={"s1": "a"},
        custom_data={"plan": {"name": "pro"}},
    )
    assert_type(sale, Conversion)
    assert_type(sale.revenue, Decimal)
    assert_type(sale.currency, str)
    assert_type(sale.timestamp, datetime)
    assert_type(sale.conversion_type, ConversionType)
    assert_type(sale.order_id, str | None)
    assert_type(sale.event_id, str)
    assert_type(sale.items, tuple[LineItem, ...])
    assert_type(sale.meta, MetaFields | None)
    assert_type(Conversion.lead(meta={"opt_out": True, "custom_data": {"status": "s"}}), Conversion)
    assert_type(sale.customer, Customer | None)
    assert_type(Conversion.lead(lead_id="l1", revenue=3), Conversion)
    assert_type(Conversion.signup(source=None, user_agent=None), Conversion)
    assert_type(Conversion.custom("Subscribed", revenue=Decimal(1)), Conversion)
    assert_type(Conversion(conversion_type="sale", revenue=1.5), Conversion)
    assert_type(new_event_id(), str)

    customer = Customer(email={"a@example.com", "b@example.com"}, phone=None)
    assert_type(customer.email, tuple[str, ...])
    assert_type(customer.fbp, str | None)
    assert_type(LineItem(id="a").price, Decimal | None)


def mistakes() -> None:
    Conversion.sale(order_id="1001")  # type: ignore[call-arg]
    Conversion.sale(revenue=1, order_id=["1001"])  # type: ignore[arg-type]
    Conversion.sale(revenue=1, colour="red")  # type: ignore[call-arg]
    Conversion.lead("c1")  # type: ignore[call-arg]
    Conversion(conversion_type="sales", revenue=1)  # type: ignore[arg-type]
    Customer(email=5)  # type: ignore[arg-type]
    Customer(fbc=["a"])  # type: ignore[arg-type]
    LineItem(id="a", quantity=["2"])  # type: ignore[arg-type]
    MetaFields(colour="red")  # type: ignore[typeddict-unknown-key]
    MetaFields(action_source="web")  # type: ignore[typeddict-item]
    MetaFields(opt_out="yes")  # type: ignore[typeddict-item]
    MetaFields(data_processing_options=["GDPR"])  # type: ignore[list-item]
    MetaFields(custom_data={"net_revenu": 1})  # type: ignore[typeddict-item]
    MetaFields(custom_data={"contents": [{"quantity": "2"}]})  # type: ignore[typeddict-item]
    Conversion.lead(meta={"colour": "red"})  # type: ignore[arg-type]
    Retry(attempts="4")  # type: ignore[arg-type]
    AnyTrackClient("k", "a", outbox=5)  # type: ignore[arg-type]
    AnyTrackClient("k", "a", delivery=Retry())  # type: ignore[arg-type]
    Conversion.lead().revenue = Decimal(1)  # type: ignore[misc]
    _ = anytrack_async.Clint  # type: ignore[attr-defined]
    _ = anytrack_async.models.Conversation  # type: ignore[attr-defined]


# Set-up


def settings(environ: Mapping[str, str]) -> None:
    assert_type(AnyTrackSettings.from_env(), AnyTrackSettings)
    assert_type(MetaSettings.from_env(environ), MetaSettings | None)
    assert_type(HubSpotSettings.from_env(environ), HubSpotSettings | None)
    assert_type(Retry().next_wait(1), float | None)
    assert_type(Retry().wait_after(1, hint=2.0), float)


class Counting:
    """An observer of one's own."""

    def __init__(self) -> None:
        self.count = 0

    def notify(self, event: Event, /) -> None:
        self.count += 1


class Warehouse:
    """A sink of one's own."""

    name = "warehouse"
    limits = SinkLimits(batch=500, concurrency=1)

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        return [Outcome.delivered(conversion.event_id) for conversion in batch]


def clients(transport: httpx.MockTransport) -> None:
    observer: Observer = Counting()
    sink: Sink = Warehouse()
    memory: Outbox = MemoryOutbox(capacity=5)
    durable: Outbox = SQLiteOutbox("conversions.db")
    meta = MetaSink(MetaSettings(pixel_id="p", access_token="t"), transport=transport)
    hubspot = HubSpotSink(HubSpotSettings(access_token="t"))
    client = AnyTrackClient(
        "key",
        "account",
        sinks=[meta, hubspot, sink],
        outbox=durable,
        delivery=DeliverySettings(retry=Retry(attempts=3), on_full="raise"),
        http=HttpSettings(timeout=5, engine="aiohttp"),
        observers=[observer, Counting()],
        transport=transport,
    )
    assert_type(client, AnyTrackClient)
    assert_type(client.outbox, Outbox)
    assert_type(AnyTrackClient("key", "account", outbox=Path("a.db")), AnyTrackClient)
    assert_type(AnyTrackClient("key", "account", outbox=memory), AnyTrackClient)
    assert_type(AnyTrackClient.from_env({"ANYTRACK_API_KEY": "k"}), AnyTrackClient)


# Conversions in


async def tracking(client: AnyTrackClient, conversion: Conversion) -> None:
    async with client as opened:
        assert_type(opened, AnyTrackClient)
    assert_type(await client.start(), None)
    assert_type(await client.aclose(), None)
    assert_type(await client.track_conversion(conversion, timeout=None), Receipt)
    assert_type(
        await client.track_conversion(conversion_type="lead", click_id="c", revenue=1), Receipt
    )
    assert_type(
        await client.track_sale("c1", "49.90", "EUR", order_id="1", product_id="p"), Receipt
    )
    assert_type(await client.track_lead("c1", lead_id="l", revenue=5, timeout=1.5), Receipt)
    receipt = await client.track_signup(click_id=None, source="google")
    assert_type(receipt, Receipt)
    assert_type(receipt.conversion_id, str | None)

    delivery = await client.submit(conversion, to=["meta"])
    assert_type(delivery, Delivery)
    assert_type(await delivery, Report)
    assert_type(await delivery.at("meta"), Outcome)
    assert_type(await client.submit_many([conversion]), Sequence[Delivery])


def rows() -> Iterator[Conversion]:
    yield Conversion.lead()


async def messages() -> AsyncIterator[Conversion]:
    yield Conversion.lead()


async def tracking_mistakes(client: AnyTrackClient, conversion: Conversion) -> None:
    await client.track_conversion(conversion, revenue=5)  # type: ignore[call-overload]
    await client.track_conversion(conversion_type="refund")  # type: ignore[call-overload]
    await client.track_conversion("c1")  # type: ignore[call-overload]
    await client.track_sale("c1", ["5"])  # type: ignore[arg-type]


async def many(client: AnyTrackClient) -> None:
    assert_type(client.track_many(rows()), AsyncGenerator[Report, None])
    assert_type(client.track_many(messages(), at=()), AsyncGenerator[Report, None])
    async for report in client.track_many([Conversion.lead()], to=["anytrack"], in_flight=5):
        assert_type(report, Report)
        assert_type(report.outcomes["anytrack"].remote_id, str | None)


async def failures(client: AnyTrackClient) -> None:
    try:
        await client.track_sale("c1", 5)
    except DeliveryTimeoutError as error:
        assert_type(await error.delivery, Report)
    except DeadLetterError as error:
        assert_type(error.outcome, Outcome)
    except QueueFullError:
        pass
    try:
        await client.get_conversions()
    except RateLimitedError as error:
        assert_type(error.retry_after, float | None)


# Conversions out


async def reading(client: AnyTrackClient) -> None:
    today, now = datetime.now(UTC).date(), datetime.now(UTC)
    assert_type(await client.get_conversions((today, now), source="g"), list[Conversion])
    assert_type(await client.get_conversions_by_source("google"), list[Conversion])
    assert_type(await client.get_conversion_details("c1"), Conversion)
    assert_type(client.stream_conversions(), AsyncGenerator[Conversion, None])
    conversion = await client.get_conversion_details("c1")
    if isinstance(conversion, RecordedConversion):
        assert_type(conversion.to_conversion(), Conversion)
        assert_type(RecordedConversion.from_dict(conversion.to_dict()), RecordedConversion)
    assert_type(Conversion.from_json(conversion.to_json()), Conversion)
    assert_type(to_records([conversion]), list[dict[str, Any]])
    assert_type(await client.calculate_attribution("c1"), Attribution)
    assert_type(await client.get_touchpoints("c1"), list[Touchpoint])
    assert_type(await client.get_affiliate_performance("a1"), AffiliatePerformance)
    assert_type(
        await client.get_top_affiliates("epc", 5, (today, today)), list[AffiliatePerformance]
    )
    await client.get_top_affiliates("clicks")  # type: ignore[arg-type]
    assert_type(await client.get_daily_report(today), DailyReport)
    assert_type(await client.export_conversions_csv("out.csv"), int)
    assert_type(await client.export_conversions(Path("out.jsonl"), campaign_id="4"), int)


async def operating(client: AnyTrackClient, conversion: Conversion) -> None:
    assert_type(await client.sync_with_meta_capi(conversion), Outcome)
    assert_type(await client.sync_with_hubspot(conversion, Warehouse()), Outcome)
    assert_type(await client.stats(), Stats)
    assert_type((await client.stats()).destinations["meta"].waiting, int)
    assert_type(await client.replay("meta", ["e1"]), int)
    client.resume("meta")
    client.use_api_key("new")
    client.use_token("meta", "new")
    client.limit_drain(1)


async def in_transactions(
    client: AnyTrackClient,
    anytrack: AnyTrack,
    conversion: Conversion,
    async_session: AsyncSession,
    async_psycopg: psycopg.AsyncConnection[tuple[Any, ...]],
    session: Session,
    sync_psycopg: psycopg.Connection[tuple[Any, ...]],
) -> None:
    assert_type(await client.submit(conversion), Delivery)
    assert_type(await client.submit(conversion, within=async_session), str)
    assert_type(await client.submit_many([conversion], within=async_psycopg), Sequence[str])
    assert_type(await client.delivery("sale:1"), Delivery)
    assert_type(anytrack.submit(conversion, within=session), str)
    assert_type(anytrack.submit_many([conversion], within=sync_psycopg), Sequence[str])
    await client.submit(conversion, within=7)  # type: ignore[call-overload]  # no connection
