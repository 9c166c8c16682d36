"""An event of a webhook becomes a conversion, whatever is missing or has a wrong type."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async import Conversion, InvalidConversionError
from anytrack_async.listening.payload import UNUSABLE, event_id, event_time, to_conversion
from tests.listening.conftest import PURCHASE

WITH_CUSTOMER = PURCHASE | {
    "transactionId": "T-1",
    "email": "jane@example.com",
    "phone": "+491701234567",
    "fullName": "Jane van Doe",
    "customerId": 77,
    "location": "https://shop.example/thanks?gclid=G1",
    "mainAttribution": {"source": "google", "campaign": "spring", "gclid": "G1", "fbclid": None},
    "items": [
        {"id": 5, "name": "Tea", "price": "5.50", "quantity": "2"},
        {"name": "without id"},
        "text",
        {"sku": "s", "price": "free", "quantity": -1},
    ],
}


def test_a_purchase_is_a_sale_with_its_click_and_time():
    sale = to_conversion(PURCHASE)

    assert (sale.conversion_type, sale.revenue, sale.currency) == ("sale", Decimal("49.9"), "EUR")
    assert sale.click_id == "Ab12Cd34aB3dE6gH9jK2mN"
    assert sale.timestamp == datetime(2021, 9, 9, 14, 8, 10, 499_000, tzinfo=UTC)
    assert sale.user_agent == "Mozilla/5.0"
    assert sale.custom_data["anytrack_asset_id"] == "Ab12Cd34"
    assert sale.event_id.startswith("at:")
    assert not sale.weakened


def test_keys_of_real_accounts_are_read_too():
    sale = to_conversion(WITH_CUSTOMER)
    customer = sale.customer

    assert customer is not None
    assert (customer.email, customer.first_name) == (("jane@example.com",), ("Jane",))
    assert (customer.last_name, customer.external_id) == (("van Doe",), ("77",))
    assert (sale.order_id, sale.source, sale.campaign_id) == ("T-1", "google", "spring")
    assert sale.clicks == {"gclid": "G1"}
    assert [(item.id, item.quantity, item.price) for item in sale.items] == [
        ("5", 2, Decimal("5.50")),
        ("s", 1, None),
    ]


@pytest.mark.parametrize(
    ("event", "kind", "name"),
    [
        ({"eventName": "Lead"}, "lead", None),
        ({"eventName": "CompleteRegistration"}, "signup", None),
        ({"eventName": "AddToCart"}, "custom", "AddToCart"),
        ({"eventName": "x" * 80 + "\n"}, "custom", "x" * 50),
        ({"eventName": "\x00"}, "custom", "Custom"),
        ({"eventName": None, "eventValue": 3}, "sale", None),
        ({"eventValue": 0}, "lead", None),
        ({"eventName": ["Purchase"], "eventValue": "2"}, "sale", None),
    ],
)
def test_the_name_decides_the_type(event, kind, name):
    conversion = to_conversion(event)

    assert (conversion.conversion_type, conversion.event_name) == (kind, name)


@pytest.mark.parametrize("event", [{}, {"hello": 1}, {"message": "test"}])
def test_an_event_without_any_known_key_is_refused(event):
    with pytest.raises(InvalidConversionError, match="has none of the keys"):
        to_conversion(event)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("eventValue", "a lot"),
        ("eventValue", -5),
        ("eventValue", True),
        ("eventValue", {"amount": 3}),
        ("eventValue", "1e999999"),
        ("eventValue", "49_90"),
        ("currency", "euros"),
        ("currency", 978),
        ("transactionId", "a\nb"),
        ("email", ["jane@example.com"]),
        ("userAgent", {"name": "Firefox"}),
    ],
)
def test_a_value_of_a_wrong_type_is_left_out_and_noted(field, value):
    conversion = to_conversion(PURCHASE | {field: value})

    assert conversion.conversion_type == "sale"
    assert UNUSABLE in conversion.weakened
    if field == "currency":
        assert conversion.currency == "USD"


@pytest.mark.parametrize("gap", [None, "", " ", "nan", "null"])
def test_without_a_currency_it_is_that_of_the_settings(gap):
    assert to_conversion(PURCHASE | {"currency": gap}, currency="CHF").currency == "CHF"


@pytest.mark.parametrize(
    ("fields", "moment"),
    [
        ({"eventTime": "2021-09-09T14:08:10"}, datetime(2021, 9, 9, 14, 8, 10, tzinfo=UTC)),
        ({"eventTime": "2021-09-09T16:08:10+02:00"}, datetime(2021, 9, 9, 14, 8, 10, tzinfo=UTC)),
        ({"eventTime": None}, datetime(2021, 9, 9, 14, 8, 10, tzinfo=UTC)),
        ({"eventTime": "soon"}, datetime(2021, 9, 9, 14, 8, 10, tzinfo=UTC)),
        ({"eventTime": 1631196490123}, datetime(2021, 9, 9, 14, 8, 10, tzinfo=UTC)),
        (
            {"eventTime": "x", "eventTimestamp": "1631196490500"},
            datetime(2021, 9, 9, 14, 8, 10, 500_000, tzinfo=UTC),
        ),
        ({"eventTime": [], "eventTimestamp": 1e300}, None),
        ({"eventTime": {}, "eventTimestamp": "-"}, None),
    ],
)
def test_the_time_is_read_in_several_ways(fields, moment):
    assert event_time(PURCHASE | fields) == moment


def test_a_repeat_has_the_same_id_and_another_event_another():
    repeat = copy.deepcopy(PURCHASE) | {"userAgent": "another", "eventValue": 50}
    others = [
        PURCHASE | change
        for change in (
            {"assetId": "other"},
            {"clickId": "other"},
            {"eventName": "Lead"},
            {"eventTime": "2021-09-09T14:08:10.500Z"},
        )
    ]

    assert event_id(repeat) == event_id(PURCHASE)
    assert len({event_id(event) for event in (PURCHASE, *others)}) == 5


def test_events_without_click_or_time_are_told_apart_by_all_they_have():
    bare = [{"eventName": "Lead", "email": f"{n}@example.com"} for n in range(2)]

    assert event_id(bare[0]) == event_id(dict(reversed(bare[0].items())))
    assert event_id(bare[0]) != event_id(bare[1])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["Purchase", "2021-09-09T14:08:10.499Z", "1", "\ud800", "a" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "source", "gclid", "price", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*WITH_CUSTOMER, "zip", "country", "ip"]), JSON))
def test_whatever_the_values_are_there_is_a_conversion(event: dict[str, Any]):
    event["eventName"] = event.get("eventName")

    conversion = to_conversion(event)

    assert Conversion.from_json(conversion.to_json()).event_id == conversion.event_id
    assert to_conversion(event).event_id == conversion.event_id


def test_the_order_of_keys_does_not_change_the_conversion():
    event = PURCHASE | {"ttclid": "t", "mainAttribution": {"gclid": "g", "source": "ads"}}
    conversion = to_conversion(event)
    reverse = to_conversion(dict(reversed(event.items())))

    assert repr(reverse) == repr(conversion)
    assert reverse.to_json() == conversion.to_json()
    assert conversion.clicks == {"gclid": "g", "ttclid": "t"}
