"""Whose conversion it is, and what is left of it without its customer."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.consent import Consent
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.erasure import Person, without_person
from tests.models.strategies import conversions, customers


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def is_same(person: dict[str, str], **customer: Any) -> bool:
    return Person(**person).matches(Conversion.lead(customer=Customer(**customer)))


JANE = "jane@example.com"


@pytest.mark.parametrize(
    "stored",
    [
        *(JANE, " Jane@Example.COM ", "\u200ejane@example.com\ufeff", "ＪＡＮＥ@example.com"),
        *(digest(JANE), digest(JANE).upper(), md5(JANE.encode()).hexdigest()),
        ["other@example.com", JANE],
    ],
)
@pytest.mark.parametrize("given", [JANE, "JANE@example.com\n", digest(JANE)])
def test_an_address_is_the_same_however_it_is_written(stored: Any, given: str):
    if given == digest(JANE) and stored == md5(JANE.encode()).hexdigest():
        return  # two kinds of hashes cannot be compared
    assert is_same({"email": given}, email=stored)


@pytest.mark.parametrize(
    "stored",
    ["+49 (170) 123-4567", "00491701234567", 491701234567, "٤٩١٧٠١٢٣٤٥٦٧", digest("491701234567")],
)
@pytest.mark.parametrize("given", ["+49 170 1234567", "0049-170/1234567", digest("491701234567")])
def test_a_number_is_the_same_however_it_is_written(stored: Any, given: str):
    assert is_same({"phone": given}, phone=stored)


@pytest.mark.parametrize("stored", ["C-7", " c-7", digest("c-7")])
def test_an_external_id_is_the_same_however_it_is_written(stored: str):
    assert is_same({"external_id": "c-7 "}, external_id=stored)


def test_another_person_does_not_match():
    assert not is_same({"email": JANE}, email="jane@example.org", phone="1", external_id=JANE)
    assert not is_same({"phone": "+491701234567"}, phone="+491701234568")
    assert not Person(email=JANE).matches(Conversion.lead())


def test_one_of_several_values_is_enough():
    assert is_same({"email": JANE, "external_id": "7"}, external_id="7", email="other@x.example")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"email": ""},
        {"email": "\u200e "},
        {"phone": "none"},
        {"external_id": " "},
        {"email": 5},
    ],
)
def test_a_person_without_a_usable_value_is_refused(wrong: Any):
    with pytest.raises(InvalidArgumentError):
        Person(**wrong)


def test_the_repr_and_the_errors_have_no_values():
    assert repr(Person(email=JANE, phone="1")) == "Person(email=…, phone=…)"
    with pytest.raises(InvalidArgumentError) as caught:
        Person(phone=JANE.replace("@", " "))
    assert "jane" not in str(caught.value)


@given(customers, st.text(min_size=1))
def test_no_customer_raises(customer: Customer, text: str):
    try:
        person = Person(email=text, external_id=text)
    except InvalidArgumentError:
        return
    person.matches(Conversion.lead(customer=customer))


SALE = Conversion.sale(
    revenue="49.90",
    order_id="1001",
    source="google",
    campaign_id="7",
    click_id="CLICK",
    clicks={"gclid": "GCLID"},
    ip_address="203.0.113.5",
    user_agent="BROWSER",
    page_url="https://shop.example/jane",
    sub_ids={"s1": "SUB"},
    custom_data={"product_id": "p", "note": "NOTE"},
    items=[LineItem(id="sku")],
    customer=Customer(email=JANE),
    meta={"event_name": "Subscribe", "user_data": {"lead_id": "LEAD"}},
)


@pytest.mark.parametrize("forgotten", [False, True])
def test_nothing_is_left_that_may_identify_the_customer(forgotten: bool):
    assert without_person(SALE, forgotten=forgotten) == Conversion.sale(
        revenue="49.90",
        order_id="1001",
        source="google",
        campaign_id="7",
        custom_data={"product_id": "p"},
        items=[LineItem(id="sku")],
        meta={"event_name": "Subscribe"},
        timestamp=SALE.timestamp,
        consent=Consent(forgotten=True) if forgotten else None,
    )


@given(conversions)
def test_every_conversion_can_be_erased_and_keeps_its_key(conversion: Conversion):
    erased = without_person(conversion, forgotten=True)

    assert erased.event_id == conversion.event_id
    assert (erased.customer, erased.consent is not None) == (None, True)


@pytest.mark.parametrize(
    ("person", "text"),
    [
        ({"email": JANE}, "invalid address 'Jane@Example.com'"),
        ({"email": "JANE@example.com"}, "jane%40example.com is unknown"),
        ({"email": JANE}, '{"value": "jane\\u0040example.com"}'),
        ({"email": JANE}, "<b>jane&#64;example.com</b>"),
        ({"email": JANE}, "ＪＡＮＥ@example.com\u200b"),
        ({"email": JANE}, f"em={digest(JANE).upper()}"),
        ({"email": digest(JANE)}, f"em={digest(JANE)}"),
        ({"email": "jané+1@example.com"}, "Jane\u0301%2B1@example.com"),
        ({"phone": "+49 170 1234567"}, "no such number: 491701234567"),
        ({"phone": "0049 170 1234567"}, "code 100: +49 (170) 123-45-67."),
        ({"phone": "+491701234567"}, "tel=%2B49%20170%201234567&x=1"),
        ({"phone": "+491701234567"}, "٤٩١٧٠١٢٣٤٥٦٧"),
        ({"external_id": "User-7"}, "the contact user-7 exists"),
        ({"external_id": "#7"}, "contact#7"),
        ({"phone": "+4915", "external_id": "b.1"}, "B.1"),
    ],
)
def test_a_quoted_value_is_found_however_it_is_written(person: dict[str, str], text: str):
    assert Person(**person).is_quoted_in(text)


@pytest.mark.parametrize(
    ("person", "text"),
    [
        ({"email": JANE}, "joe@example.com, HTTP 400"),
        ({"email": "j.d@example.com"}, "jxd@example.com"),
        ({"phone": "+491701234567"}, "4917012345678 and 1491701234567"),
        ({"external_id": "7"}, "17 of 70 refused"),
        ({"external_id": "b.1"}, "b21"),
        ({"email": JANE}, ""),
    ],
)
def test_other_texts_quote_nobody(person: dict[str, str], text: str):
    assert not Person(**person).is_quoted_in(text)
