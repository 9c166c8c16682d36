"""What the collect endpoint gets of a conversion."""

from __future__ import annotations

import pytest

from anytrack_async import Conversion, Customer, LineItem
from anytrack_async.destinations.collect.payload import (
    CLIENT_ID,
    NO_CLICK_ID,
    identity,
    to_payload,
    weakness,
    weaknesses,
)
from anytrack_async.models.customer import UNUSABLE
from tests.destinations.collect.doubles import JANE, sale


def test_a_sale_has_every_core_parameter():
    payload = to_payload(sale(click_id="c1", user_agent="Firefox"))

    assert payload == {
        "click_id": "c1",
        "event_name": "Purchase",
        "value": 9.9,
        "currency": "EUR",
        "timestamp": 1767268800,
        "xat_event_id": "sale:1001",
        "transaction_id": "1001",
        "ua": "Firefox",
    }


def test_traits_have_their_exact_names():
    payload = to_payload(sale(customer=JANE))

    assert (
        payload.items()
        >= {
            "ref_id": "c-7",
            "email": "Jane@Example.com",
            "phone": "+49 170 1234567",
            "firstName": "Jane",
            "lastName": "Doe",
            "city": "Berlin",
            "zip": "10115",
            "country": "de",
        }.items()
    )


@pytest.mark.parametrize(
    ("conversion", "name"),
    [
        (sale(), "Purchase"),
        (sale(revenue=0), "Purchase"),
        (Conversion.lead(revenue=5), "Lead"),
        (Conversion.signup(), "CompleteRegistration"),
        (Conversion.custom("Subscribed"), "Subscribed"),
        (Conversion(conversion_type="custom"), "Custom"),
    ],
)
def test_the_event_always_has_a_name(conversion, name):
    assert to_payload(conversion)["event_name"] == name


def test_the_transaction_is_the_order_or_nothing():
    assert to_payload(sale(order_id=77))["transaction_id"] == "77"
    assert "transaction_id" not in to_payload(sale(order_id=None))


def test_items_and_the_first_brand_are_sent():
    items = [LineItem(id="s1", quantity=2, price="5.50", title="Tea", brand="Leaf")]

    payload = to_payload(sale(items=items))

    assert payload["items"] == [
        {"id": "s1", "quantity": 2, "price": 5.5, "name": "Tea", "brand": "Leaf"}
    ]
    assert payload["brand_name"] == "Leaf"


def test_an_address_that_is_none_does_not_identify():
    assert identity(sale(customer=Customer(email=["no address", "a@example.com"]))) == {
        "email": "a@example.com"
    }
    assert identity(sale(customer=Customer(email="no address"))) == {}


def test_values_that_were_hashed_for_meta_are_no_traits():
    digest = "ab" * 32
    marked = f"{digest}.AQICAQMC"
    customer = Customer(
        external_id=marked, email=marked, phone=marked, city=[digest.upper(), "Bonn"]
    )

    payload = to_payload(sale(customer=customer))

    assert (payload["ref_id"], payload["city"]) == (digest, "Bonn")
    assert not payload.keys() & {"email", "phone"}
    assert weaknesses(sale(customer=customer)) == [NO_CLICK_ID, UNUSABLE["email"]]
    assert weaknesses(sale(click_id="k1", customer=JANE)) == []


def test_clicks_that_anytrack_may_not_find_are_weak():
    assert weakness(sale(customer=JANE)) == NO_CLICK_ID
    assert weakness(sale(click_id="aB3dE6gH9jK2mN")) == CLIENT_ID
    assert weakness(sale(click_id="OZ1EhR5TaB3dE6gH9jK2mN")) is None
