"""Who bought what, in Meta's parameters: `MetaUserData`, `MetaContent`, `MetaCustomData`."""

# ruff: noqa: RUF009 - the calls make attrs fields, as `attrs.field` does

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.mappings import json_map
from anytrack_async.models.meta_fields import (
    count,
    key,
    names_only,
    number,
    one_of,
    parts,
    several,
    words,
)

DeliveryCategory: TypeAlias = Literal["in_store", "curbside", "home_delivery"]
"""How a purchase reaches the customer."""

ContentType: TypeAlias = Literal["product", "product_group"]
"""What content ids name."""

_ZERO = Decimal(0)
_CUSTOMER = frozenset(
    (
        *("em", "ph", "ge", "db", "ln", "fn", "ct", "st", "zp", "country", "external_id"),
        *("client_ip_address", "client_user_agent", "fbc", "fbp"),
    )
)


def _no_customer_data(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    extra = json_map("extra", value)
    if named := _CUSTOMER & extra.keys():
        # Meta refuses a whole request for one value that should have been hashed.
        raise InvalidConversionError(
            "extra",
            f"must not hold {', '.join(sorted(named))}: give them as Customer or Conversion",
        )
    return extra


@frozen(kw_only=True, repr=False)
class MetaUserData:
    """Identifiers that only Meta has; never hashed.

    Attributes:
        subscription_id: of the customer's subscription.
        fb_login_id: the id your app gets on Facebook Login.
        lead_id: of a lead from Meta's lead ads; not your own lead id.
        anon_id: the app's install id.
        madid: the device's advertising id, Android or iOS.
        page_id: of the page a messenger bot belongs to.
        page_scoped_user_id: of the customer, for that page.
        ctwa_clid: of the click on an ad that opens WhatsApp.
        ig_account_id: of your Instagram account.
        ig_sid: of the customer, for that account.
        extra: identifiers that Meta added later, sent as given.

    Source: Meta: Conversions API, customer information parameters.
    """

    subscription_id: str | None = key()
    fb_login_id: str | None = key()
    lead_id: str | None = key()
    anon_id: str | None = key()
    madid: str | None = key()
    page_id: str | None = key()
    page_scoped_user_id: str | None = key()
    ctwa_clid: str | None = key()
    ig_account_id: str | None = key()
    ig_sid: str | None = key()
    extra: Mapping[str, Any] = field(factory=dict, converter=_no_customer_data, hash=False)

    __repr__ = names_only


@frozen(kw_only=True, repr=False)
class MetaContent:
    """One product of an event, where `LineItem` does not say enough.

    Attributes:
        id: the product's id or SKU.
        quantity: how many.
        item_price: of one, in the conversion's currency, major units.
        title: what the product is called.
        description: of the product.
        brand: of the product.
        category: of the product.
        delivery_category: how it reaches the customer.

    Source: Meta: Conversions API, custom data parameters.
    """

    id: str | None = key()
    quantity: int | None = count()
    item_price: Decimal | None = number("item_price", lowest=_ZERO)
    title: str | None = words()
    description: str | None = words()
    brand: str | None = words()
    category: str | None = words()
    delivery_category: DeliveryCategory | None = one_of(DeliveryCategory)

    __repr__ = names_only


@frozen(kw_only=True, repr=False)
class MetaCustomData:
    """Meta's standard parameters for what was bought or done.

    Value, currency and order id are the conversion's own; products come from its items unless
    given here.

    Attributes:
        net_revenue: what is left of the revenue after costs, major units; may be negative.
        content_name: of the page or product.
        content_category: of the page or product.
        content_ids: ids of the products.
        contents: the products.
        content_type: what the ids name.
        delivery_category: how the purchase reaches the customer.
        predicted_ltv: what the customer is expected to bring in all, major units.
        num_items: how many items were bought.
        status: of a registration.
        search_string: what the customer searched for.

    Source: Meta: Conversions API, custom data parameters.
    """

    net_revenue: Decimal | None = number("net_revenue")
    content_name: str | None = words()
    content_category: str | None = words()
    content_ids: tuple[str, ...] | None = several("content_ids")
    contents: tuple[MetaContent, ...] | None = parts("contents", MetaContent)
    content_type: ContentType | None = one_of(ContentType)
    delivery_category: DeliveryCategory | None = one_of(DeliveryCategory)
    predicted_ltv: Decimal | None = number("predicted_ltv")
    num_items: int | None = count()
    status: str | None = words()
    search_string: str | None = words()

    __repr__ = names_only
