import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.hubspot.mapping import (
    first_email,
    format_decimal,
    property_text,
    to_contact,
    to_deal,
)
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.customer import Customer
from tests.models.strategies import FLOATS


def properties(conversion, settings):
    return to_deal(conversion, settings)["properties"]


def test_a_sale_becomes_a_deal_with_all_its_fields(hs):
    conversion = hs.sale(
        "A1",
        click_id="ck",
        source=" google ",
        campaign_id="c7",
        ad_id="ad9",
        currency="EUR",
        id="anytrack-5",
    )

    assert to_deal(conversion, hs.settings()) == {
        "id": "sale:A1",
        "idProperty": "anytrack_event_id",
        "properties": {
            "dealname": "Conversion anytrack-5",
            "amount": "9.90",
            "deal_currency_code": "EUR",
            "closedate": "2026-03-04T05:06:07.891Z",
            "pipeline": "default",
            "dealstage": "closedwon",
            "anytrack_event_id": "sale:A1",
            "anytrack_source": "google",
            "anytrack_campaign_id": "c7",
            "anytrack_click_id": "ck",
            "anytrack_conversion_type": "sale",
            "anytrack_ad_id": "ad9",
            "anytrack_order_id": "A1",
        },
        "objectWriteTraceId": "sale:A1",
    }


def test_fields_without_a_value_are_left_out(hs):
    deal = properties(Conversion.lead(event_id="e1", timestamp=hs.AT), hs.settings())

    assert set(deal) == {
        "dealname",
        "amount",
        "deal_currency_code",
        "closedate",
        "pipeline",
        "dealstage",
        "anytrack_event_id",
        "anytrack_conversion_type",
    }


def test_without_an_id_the_deal_is_named_by_its_event_id(hs):
    assert properties(hs.sale("7"), hs.settings())["dealname"] == "Conversion sale:7"


@pytest.mark.parametrize("number", FLOATS, ids=lambda number: type(number).__name__)
def test_a_float_of_a_property_is_written_with_its_shortest_digits(number: object):
    assert property_text(number) == "0.1"


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("sale", "closedwon"),
        ("lead", "qualifiedtobuy"),
        ("signup", "qualifiedtobuy"),
        ("custom", "qualifiedtobuy"),
    ],
)
def test_only_a_sale_is_won(hs, kind, stage):
    assert properties(Conversion(conversion_type=kind), hs.settings())["dealstage"] == stage


def test_stage_and_pipeline_follow_the_conversion_type(hs):
    settings = hs.settings(stages={"lead": "99"}, pipeline={"lead": "5"})

    lead = properties(Conversion.lead(), settings)
    sale = properties(hs.sale(), settings)

    assert (lead["pipeline"], lead["dealstage"]) == ("5", "99")
    assert (sale["pipeline"], sale["dealstage"]) == ("default", "closedwon")


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("1234567.5", "1234567.5"),
        ("1E+3", "1000"),
        ("1E-7", "0.0000001"),
        ("0E-10", "0.0000000000"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("1E-1000000", "0"),
        ("0." + "1" * 60, "0.111111111111"),
        ("999999999999999.99", "999999999999999.99"),
    ],
)
def test_amounts_are_plain_decimals(number, written):
    assert format_decimal(Decimal(number)) == written


def test_close_date_is_utc_with_milliseconds(hs):
    tokyo = timezone(timedelta(hours=9))
    conversion = hs.sale(timestamp=datetime(2026, 1, 1, 3, 0, tzinfo=tokyo))

    assert properties(conversion, hs.settings())["closedate"] == "2025-12-31T18:00:00.000Z"


def test_a_function_names_the_deal(hs):
    named = hs.settings(deal_name=lambda c: f" {c.conversion_type} {c.order_id} ")
    blank = hs.settings(deal_name=lambda c: "  ")

    assert properties(hs.sale("7"), named)["dealname"] == "sale 7"
    assert properties(hs.sale("7"), blank)["dealname"] == "Conversion sale:7"


def test_a_mapping_adds_properties_from_fields_entries_and_constants(hs):
    settings = hs.settings(
        properties={
            "plan": "custom_data.plan",
            "deep": "custom_data.a.b",
            "dotted": "custom_data.x.y",
            "sub": "sub_ids.s1",
            "town": "customer.city",
            "dealtype": "=newbusiness",
            "page": "page_url",
            "nothing": "custom_data.none",
            "unset": "customer.gender",
            "lost": "custom_data.plan.deeper",
        }
    )
    conversion = hs.sale(
        custom_data={"plan": "gold", "a": {"b": 3}, "x.y": True},
        sub_ids={"s1": "one"},
        customer=Customer(city=["Bonn", "Köln"]),
        page_url="https://shop.example/thanks",
    )

    deal = properties(conversion, settings)

    assert {name: deal[name] for name in settings.properties if name in deal} == {
        "plan": "gold",
        "deep": "3",
        "dotted": "true",
        "sub": "one",
        "town": "Bonn",
        "dealtype": "newbusiness",
        "page": "https://shop.example/thanks",
    }


def test_a_function_adds_and_replaces_all_properties_but_the_key(hs):
    settings = hs.settings(
        properties=lambda c: {
            "amount": Decimal("1E+2"),
            "anytrack_event_id": "x",
            "blank": " ",
            "deal_currency_code": None,
        }
    )

    deal = to_deal(hs.sale("7"), settings)

    assert deal["properties"]["amount"] == "100"
    assert deal["properties"]["anytrack_event_id"] == deal["id"] == "sale:7"
    assert not {"blank", "deal_currency_code"} & deal["properties"].keys()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00.000Z"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00.000Z"),
        (["a", 1], "a;1"),
        ({"a": 1}, '{"a":1}'),
        (" x ", "x"),
    ],
)
def test_values_of_any_kind_become_text(value, written):
    assert property_text(value) == written


def test_an_unpaired_surrogate_is_refused():
    with pytest.raises(ValueError, match="surrogate"):
        property_text("\ud800")


_TEXT = st.text(max_size=40).filter(lambda s: s.strip() and s.isprintable() and s == s.strip())


_LOOSE = st.text(min_size=1, max_size=40).filter(
    lambda s: s.strip() and not any("\ud800" <= c <= "\udfff" for c in s)
)


_CONVERSIONS = st.builds(
    Conversion,
    conversion_type=st.sampled_from(ConversionType),
    revenue=st.decimals(0, 10**14, allow_nan=False, allow_infinity=False),
    currency=st.sampled_from(["USD", "EUR", "JPY"]),
    timestamp=st.datetimes(timezones=st.just(UTC)),
    click_id=st.none() | _TEXT,
    order_id=st.none() | _TEXT,
    id=st.none() | _TEXT,
    source=st.none() | _LOOSE,
    campaign_id=st.none() | _LOOSE,
    ad_id=st.none() | _LOOSE,
)


_SETTINGS = HubSpotSettings(access_token="t")


@given(_CONVERSIONS)
def test_any_conversion_maps_to_text_without_whitespace_around(conversion):
    deal = to_deal(conversion, _SETTINGS)

    assert orjson.loads(orjson.dumps(deal)) == deal
    for value in deal["properties"].values():
        assert isinstance(value, str)
        assert value
        assert value == value.strip()
    assert re.fullmatch(r"\d+(\.\d+)?", deal["properties"]["amount"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", deal["properties"]["closedate"])
    assert deal["id"] == deal["objectWriteTraceId"] == conversion.event_id


# Contacts


def test_a_customer_becomes_a_contact(hs):
    customer = Customer(
        email=["broken", " Jane.Doe@Example.COM ", "other@example.com"],
        first_name=" Jane ",
        last_name="Doe",
        phone="+49 228 1234",
        city="Bonn",
        state="NRW",
        postal_code="53113",
        country="DE",
    )

    assert to_contact(hs.sale("1", customer=customer), hs.settings()) == {
        "id": "jane.doe@example.com",
        "idProperty": "email",
        "properties": {
            "email": "jane.doe@example.com",
            "firstname": "Jane",
            "lastname": "Doe",
            "phone": "+49 228 1234",
            "city": "Bonn",
            "state": "NRW",
            "zip": "53113",
            "country": "DE",
        },
        "objectWriteTraceId": "sale:1",
    }


def test_values_that_were_hashed_for_meta_are_no_properties(hs):
    digest = sha256(b"x").hexdigest()
    customer = Customer(
        email=[f"{digest}.AQICAQMC", "jane@example.com"],
        phone=f"{digest}.AQICAQMC",
        first_name=digest.upper(),
        city=[digest, " Bonn"],
    )

    contact = to_contact(hs.sale("1", customer=customer), hs.settings())

    assert contact["properties"] == {"email": "jane@example.com", "city": "Bonn"}


def test_without_a_valid_address_there_is_no_contact(hs):
    assert to_contact(hs.sale(), hs.settings()) is None
    assert to_contact(hs.sale(email="broken"), hs.settings()) is None
    assert to_contact(hs.sale(customer=Customer(phone="1")), hs.settings()) is None


def test_contact_properties_add_and_replace_all_but_the_key(hs):
    settings = hs.settings(
        contact_properties={
            "lifecyclestage": "=customer",
            "city": "custom_data.none",
            "email": "=other@b.example",
        }
    )
    conversion = hs.sale(customer=Customer(email="a@b.example", city="Bonn"))

    contact = to_contact(conversion, settings)

    assert contact is not None
    assert contact["properties"] == {"email": "a@b.example", "lifecyclestage": "customer"}


def test_contacts_can_be_switched_off(hs):
    assert to_contact(hs.sale(email="a@b.example"), hs.settings(contacts=False)) is None


@pytest.mark.parametrize(
    "address",
    ["a@b.example", "o'neil+tag@sub.domain.example", "x.y@z-1.example", "müller@straße.example"],
)
def test_valid_addresses_are_accepted(address):
    assert first_email([address]) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@b",
        "@b.example",
        "a@@b.example",
        "a@b..example",
        "a..b@c.example",
        ".a@b.example",
        "a.@b.example",
        "a b@c.example",
        "a@b.example, c@d.example",
        "a@b.e",
        "<a@b.example>",
        "a@" + "b" * 260 + ".example",
        "a" * 100_000,
    ],
)
def test_invalid_addresses_are_skipped(address):
    assert first_email([address]) is None


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_customer_maps_to_text_without_whitespace_around(values):
    try:
        customer = Customer(email="a@b.example", first_name=values, city=values)
    except ValueError:
        return
    settings = HubSpotSettings(access_token="t")
    contact = to_contact(Conversion.lead(customer=customer), settings)

    assert contact is not None
    assert all(v and v == v.strip() for v in contact["properties"].values())
