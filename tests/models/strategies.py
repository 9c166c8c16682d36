"""Hypothesis strategies: any conversion that can be built."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from numbers import Real
from typing import Any, get_args

from hypothesis import strategies as st

from anytrack_async.models.consent import PURPOSES, Consent, ConsentState
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.meta import (
    MetaAppData,
    MetaAttributionData,
    MetaContent,
    MetaCustomData,
    MetaFields,
    MetaOriginalEvent,
    MetaUserData,
)
from anytrack_async.models.meta_types import (
    ActionSource,
    AttributionMethod,
    AttributionModel,
    ContentType,
    CustomerSegment,
    DeliveryCategory,
    MessagingChannel,
    ProcessingCountry,
    ProcessingState,
)

NASTY = (
    "\x00",
    "\u202e right to left",
    "e\u0301 is not é",
    "\ufeffbom",
    "🏳️‍🌈",
    "\u2028line",
    "\\u0000",
    '"quoted", {"v": 9}',
    "ＳＡＬＥ",
    "\x7f",
    "'; DROP TABLE conversions; --",
)

texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
).filter(lambda text: not text.isspace())

names = st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1, max_size=30)

EDGES = ("0", "0.00", "0E-50", "0.10", "1E-7", "1E+14", "999999999999999.99", "1E-999999", "3.140")

amounts = st.one_of(
    st.sampled_from([Decimal(edge) for edge in EDGES]),
    st.decimals(min_value=0, max_value=Decimal(999999999999999), allow_nan=False),
)

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=zones)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False),
    st.dates(),
    times,
    texts,
    st.just(""),
)

json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner),
    ),
    max_leaves=8,
)

json_maps = st.dictionaries(
    st.one_of(st.sampled_from(["event_id", "v", "id", "content", ""]), texts),
    json_values,
    max_size=4,
)


def some(cls: Any, /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Instances of *cls* with any selection of *fields*."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: cls(**given))


def one_of(literal: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(literal))


line_items = st.builds(
    LineItem,
    id=names,
    quantity=st.integers(1, 2**31 - 1),
    price=st.none() | amounts,
    title=st.none() | texts,
    category=st.none() | texts,
    brand=st.none() | texts,
)

several = st.one_of(st.none(), texts, st.lists(texts, max_size=3), st.sets(texts, max_size=3))

customers = some(
    Customer,
    email=several,
    phone=several | st.integers(),
    first_name=several,
    last_name=several,
    gender=several,
    birth_date=several | st.dates() | st.lists(st.dates(), max_size=2),
    city=several,
    state=several,
    postal_code=several | st.integers(0, 99999),
    country=several,
    external_id=several | st.integers(),
    fbc=st.none() | texts,
    fbp=st.none() | texts,
    fbclid=st.none() | texts,
)

ids = names | st.integers(0, 2**70)
counts = st.integers(0, 2**63 - 1)
numbers = st.decimals(min_value=-(10**15), max_value=10**15, allow_nan=False, allow_infinity=False)
shares = st.decimals(min_value=0, max_value=1, allow_nan=False)

contents = some(
    MetaContent,
    id=ids,
    quantity=counts,
    item_price=amounts,
    title=texts,
    description=texts,
    brand=texts,
    category=texts,
    delivery_category=one_of(DeliveryCategory),
)

_KEYS = "subscription_id fb_login_id lead_id anon_id madid page_id page_scoped_user_id ctwa_clid"
extras = st.dictionaries(st.sampled_from(["newer", "newest"]), json_values)

meta_fields = some(
    MetaFields,
    action_source=one_of(ActionSource),
    event_name=names,
    referrer_url=texts,
    opt_out=st.booleans(),
    messaging_channel=one_of(MessagingChannel),
    data_processing_options=st.sampled_from([(), ("LDU",), ["LDU"]]),
    data_processing_options_country=one_of(ProcessingCountry),
    data_processing_options_state=one_of(ProcessingState),
    customer_segmentation=one_of(CustomerSegment),
    user_data=some(
        MetaUserData,
        **dict.fromkeys(_KEYS.split(), ids),
        ig_account_id=ids,
        ig_sid=ids,
        extra=extras,
    ),
    custom_data=some(
        MetaCustomData,
        net_revenue=numbers,
        content_name=texts,
        content_category=texts,
        content_ids=st.lists(ids, max_size=3),
        contents=st.lists(contents, max_size=2),
        content_type=one_of(ContentType),
        delivery_category=one_of(DeliveryCategory),
        predicted_ltv=numbers,
        num_items=counts,
        status=texts,
        search_string=texts,
    ),
    app_data=some(
        MetaAppData,
        advertiser_tracking_enabled=st.booleans(),
        application_tracking_enabled=st.booleans(),
        extinfo=st.lists(names, min_size=14, max_size=14).map(lambda rest: ["a2", *rest, "1"]),
        campaign_ids=texts,
        install_referrer=texts,
        url_schemes=st.lists(texts, max_size=2),
        vendor_id=ids,
        receipt_data=texts,
        consider_views=st.booleans(),
    ),
    original_event_data=some(
        MetaOriginalEvent, event_name=texts, event_time=times, order_id=ids, event_id=ids
    ),
    attribution_data=some(
        MetaAttributionData,
        ad_id=ids,
        attribution_share=shares,
        attribution_value=numbers,
        attribution_model=one_of(AttributionModel),
        attribution_method=one_of(AttributionMethod),
        attr_window=counts,
        scope=texts,
        touchpoint_ts=times,
        visit_time=times,
        total_credit=numbers,
        inactivity_window_hours=counts,
    ),
    extra=extras,
)

states = st.sampled_from(ConsentState)

conversions = st.fixed_dictionaries(
    {"conversion_type": st.sampled_from(ConversionType)},
    optional={
        "click_id": names,
        "revenue": amounts,
        "currency": st.sampled_from(["USD", "eur", "JPY", " kwd "]),
        "timestamp": times,
        "order_id": names,
        "event_name": names,
        "event_id": names,
        "id": names,
        "source": texts,
        "campaign_id": texts,
        "ad_id": texts,
        "sub_ids": st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=3),
        "ip_address": texts,
        "user_agent": texts,
        "page_url": texts,
        "custom_data": json_maps,
        "items": st.lists(line_items, max_size=3),
        "customer": customers,
        "meta": meta_fields,
        "clicks": st.dictionaries(st.sampled_from(["gclid", "ScCid", "oppref"]), texts),
        "consent": some(Consent, **dict.fromkeys(PURPOSES, states), forgotten=st.booleans()),
    },
).map(lambda given: Conversion(**given))

__all__ = ["amounts", "conversions", "customers", "json_maps", "names", "texts", "times"]


class Column(list[Any]):
    """Values as numpy and pandas hold them: to compare them with something else is an error."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("operands could not be broadcast together")


class Float64(float):
    """A float as numpy 2 has it: its `repr` is not a number."""

    def __repr__(self) -> str:
        return "np.float64(0.1)"


class Float32:
    """A float of 4 bytes as numpy has it: no `float`, but registered as a real number."""

    def __float__(self) -> float:
        return 0.10000000149011612

    def __str__(self) -> str:
        return "0.1"


Real.register(Float32)

FLOATS = (0.1, Float64(0.1), Float32())
"""0.1 as Python and numpy have it."""
