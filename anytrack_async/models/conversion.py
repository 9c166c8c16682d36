"""`Conversion`: one thing a visitor did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self, TypedDict, Unpack

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.customer import Customer
from anytrack_async.models.event_id import new_event_id, order_event_id
from anytrack_async.models.line_item import LineItem
from anytrack_async.models.mappings import json_map, text_map
from anytrack_async.models.meta import MetaFields
from anytrack_async.models.validators import (
    Amount,
    amount,
    currency_code,
    identifier,
    not_blank,
    text_or_none,
    utc,
)


class ConversionType(StrEnum):
    """What kind of thing the visitor did."""

    SALE = "sale"
    LEAD = "lead"
    SIGNUP = "signup"
    CUSTOM = "custom"


def _type(value: ConversionType | str) -> ConversionType:
    try:
        return ConversionType(value)
    except ValueError:
        known = ", ".join(ConversionType)
        raise InvalidConversionError("conversion_type", f"must be one of {known}") from None


def _revenue(value: Amount) -> Decimal:
    return amount("revenue", value)


def _timestamp(value: datetime) -> datetime:
    return utc("timestamp", value)


def _sub_ids(value: Mapping[str, Any] | None) -> Mapping[str, str]:
    return text_map("sub_ids", value)


def _custom_data(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return json_map("custom_data", value)


def _event_id(conversion: Conversion) -> str:
    if conversion.order_id is None:
        return new_event_id()
    name = conversion.event_name
    return order_event_id(str(conversion.conversion_type), name and str(name), conversion.order_id)


def _items(value: Iterable[LineItem] | None) -> tuple[LineItem, ...]:
    if value is None or value is _NOTHING:  # not `==`, which an array answers for each of its items
        return _NOTHING
    given: Any = value
    items = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(item, LineItem) for item in items):
        raise InvalidConversionError("items", "must be LineItem objects")
    return items


def _customer(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, Customer):
        raise InvalidConversionError(field.name, "must be a Customer")


def _meta(_: object, field: attrs.Attribute[Any], value: object) -> None:

    if value is not None and not isinstance(value, MetaFields):
        raise InvalidConversionError(field.name, "must be MetaFields")


_NOTHING: tuple[()] = ()
_ID = identifier(200, optional=True)
_TEXT = text_or_none()


@attrs.frozen(kw_only=True)
class Conversion:
    """One thing a visitor did.

    Validation runs in the constructor: a conversion that exists can be stored and sent. Blank text
    in `source`, `ip_address`, `user_agent` and `page_url` counts as none: an empty header does no
    harm; a blank id is an error. The `repr` leaves out whatever may tell who the customer is.

    Attributes:
        conversion_type: sale, lead, signup or custom.
        click_id: AnyTrack's id of the click that led here.
        revenue: amount in *currency*, a `Decimal` in major units (9.90, not 990).
        currency: ISO 4217 code, upper case.
        timestamp: when it happened; given with a time zone, kept in UTC. Default: now.
        order_id: your id of the order; makes `event_id` repeatable.
        event_name: the name of a custom event, e.g. ``"Subscribed"``.
        event_id: its key; equal keys are one conversion everywhere. Default:
            ``"<type>:<order_id>"`` (a custom event: ``"custom:<event_name>:<order_id>"``),
            so that the same order imported twice is the same event; a UUIDv7 without an order id.
        id: AnyTrack's id, once AnyTrack gave one.
        source: where the visitor came from.
        campaign_id: the campaign's id there.
        ad_id: the ad's id there.
        sub_ids: sub ids, name to text; numbers become text, None is left out.
        ip_address: the visitor's address.
        user_agent: the visitor's browser.
        page_url: the page it happened on.
        custom_data: own fields; anything JSON can hold, at most 64 levels deep.
        items: lines of the order.
        customer: who bought.
        meta: what only Meta is told.

    Raises:
        InvalidConversionError: a field is not valid; the message names it.
    """

    conversion_type: ConversionType = attrs.field(converter=_type)
    click_id: str | None = attrs.field(
        default=None, validator=identifier(1024, optional=True), repr=False
    )
    revenue: Decimal = attrs.field(default=Decimal(0), converter=_revenue)
    currency: str = attrs.field(default="USD", converter=currency_code)
    timestamp: datetime = attrs.field(factory=lambda: datetime.now(UTC), converter=_timestamp)
    order_id: str | None = attrs.field(default=None, validator=_ID)
    event_name: str | None = attrs.field(default=None, validator=identifier(50, optional=True))
    event_id: str = attrs.field(
        default=attrs.Factory(_event_id, takes_self=True), validator=identifier(400)
    )
    id: str | None = attrs.field(default=None, validator=_ID)
    source: str | None = attrs.field(default=None, converter=not_blank, validator=_TEXT)
    campaign_id: str | None = attrs.field(default=None, validator=_TEXT)
    ad_id: str | None = attrs.field(default=None, validator=_TEXT)
    sub_ids: Mapping[str, str] = attrs.field(
        factory=dict, converter=_sub_ids, repr=False, hash=False
    )
    ip_address: str | None = attrs.field(
        default=None, converter=not_blank, validator=text_or_none(64), repr=False
    )
    user_agent: str | None = attrs.field(
        default=None, converter=not_blank, validator=_TEXT, repr=False
    )
    page_url: str | None = attrs.field(
        default=None, converter=not_blank, validator=_TEXT, repr=False
    )
    custom_data: Mapping[str, Any] = attrs.field(
        factory=dict, converter=_custom_data, repr=False, hash=False
    )
    items: tuple[LineItem, ...] = attrs.field(default=(), converter=_items, repr=False)
    customer: Customer | None = attrs.field(default=None, validator=_customer, repr=False)
    meta: MetaFields | None = attrs.field(default=None, validator=_meta, repr=False)

    @classmethod
    def sale(
        cls,
        *,
        revenue: Amount,
        currency: str = "USD",
        click_id: str | None = None,
        product_id: str | None = None,
        **more: Unpack[ConversionFields],
    ) -> Self:
        """Return a sale; *product_id* travels as ``custom_data.product_id``."""
        more["custom_data"] = _with(more.get("custom_data"), product_id=product_id)
        kind = ConversionType.SALE
        return cls(
            conversion_type=kind, click_id=click_id, revenue=revenue, currency=currency, **more
        )

    @classmethod
    def lead(
        cls,
        *,
        click_id: str | None = None,
        lead_id: str | None = None,
        **more: Unpack[PricedFields],
    ) -> Self:
        """Return a lead; *lead_id* travels as ``custom_data.lead_id``."""
        more["custom_data"] = _with(more.get("custom_data"), lead_id=lead_id)
        return cls(conversion_type=ConversionType.LEAD, click_id=click_id, **more)

    @classmethod
    def signup(cls, *, click_id: str | None = None, **more: Unpack[PricedFields]) -> Self:
        """Return a sign-up."""
        return cls(conversion_type=ConversionType.SIGNUP, click_id=click_id, **more)

    @classmethod
    def custom(
        cls, event_name: str, *, click_id: str | None = None, **more: Unpack[PricedFields]
    ) -> Self:
        """Return an event of your own, called *event_name*."""
        kind = ConversionType.CUSTOM
        return cls(conversion_type=kind, event_name=event_name, click_id=click_id, **more)


def _with(custom_data: Mapping[str, Any] | None, **extra: str | None) -> dict[str, Any]:
    given = {name: value for name, value in extra.items() if value is not None}
    return {**(custom_data or {}), **given}


class ConversionFields(TypedDict, total=False):
    """Keyword arguments that each constructor and ``track_*`` method passes on to `Conversion`."""

    event_id: str
    id: str | None
    timestamp: datetime
    source: str | None
    campaign_id: str | None
    ad_id: str | None
    order_id: str | None
    sub_ids: Mapping[str, str]
    ip_address: str | None
    user_agent: str | None
    page_url: str | None
    custom_data: Mapping[str, Any]
    items: Iterable[LineItem]
    customer: Customer | None
    meta: MetaFields | None


class PricedFields(ConversionFields, total=False):
    """`ConversionFields` and what the conversion is worth."""

    revenue: Amount
    currency: str
