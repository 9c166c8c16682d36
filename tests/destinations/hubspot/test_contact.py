import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.hubspot.mapping import first_email, to_contact
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer


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


def test_without_a_valid_address_there_is_no_contact(hs):
    assert to_contact(hs.sale(), hs.settings()) is None
    assert to_contact(hs.sale(email="broken"), hs.settings()) is None
    assert to_contact(hs.sale(customer=Customer(phone="1")), hs.settings()) is None


def test_further_properties_add_and_replace_but_not_the_key(hs):
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
def test_addresses_that_are_taken(address):
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
def test_addresses_that_are_not_taken(address):
    assert first_email([address]) is None


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_customer_maps_to_text_without_blanks(values):
    try:
        customer = Customer(email="a@b.example", first_name=values, city=values)
    except ValueError:
        return
    settings = HubSpotSettings(access_token="t")
    contact = to_contact(Conversion.lead(customer=customer), settings)

    assert contact is not None
    assert all(v and v == v.strip() for v in contact["properties"].values())
