"""Conversions and customers of web requests: what the request tells fills what is not given."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer
from anytrack_async.models.request import Visitor, visitor

CONTEXT = Visitor(
    click_id="P1abcDEF12345678",
    clicks={"gclid": "G1", "fbclid": "FB1"},
    fbc="fb.1.1700000000000.FB1",
    fbp="fb.1.1700000000000.42",
    ip_address="203.0.113.5",
    user_agent="Mozilla/5.0",
    page_url="https://shop.example/",
)
MAKERS: tuple[Any, ...] = (
    lambda **fields: Conversion.sale(revenue=5, **fields),
    Conversion.lead,
    Conversion.signup,
    lambda **fields: Conversion.custom("Quiz", **fields),
)


@pytest.mark.parametrize("make", MAKERS)
def test_a_visitor_fills_the_fields_that_are_not_given(make: Any):
    conversion = make(context=CONTEXT, event_id="e")

    assert conversion.click_id == CONTEXT.click_id
    assert conversion.clicks == CONTEXT.clicks
    assert conversion.customer == Customer(fbc=CONTEXT.fbc, fbp=CONTEXT.fbp)
    for name in ("ip_address", "user_agent", "page_url"):
        assert getattr(conversion, name) == getattr(CONTEXT, name)


def test_fields_that_are_given_stay():
    customer = Customer(email="jane@x.example", fbp="fb.1.1.7")
    given: dict[str, Any] = {"click_id": "c", "ip_address": "8.8.8.8", "page_url": "https://a.test"}

    sale = Conversion.sale(
        revenue=5, context=CONTEXT, customer=customer, clicks={"gclid": "G2"}, **given
    )

    assert {name: getattr(sale, name) for name in given} == given
    assert sale.clicks == {"gclid": "G2", "fbclid": "FB1"}
    assert sale.customer == attrs.evolve(customer, fbc=CONTEXT.fbc)


@pytest.mark.parametrize("gap", ["", " ", math.nan])
def test_a_field_with_a_gap_is_filled_too(gap: Any):
    lead = Conversion.lead(
        context=CONTEXT, click_id=gap, ip_address=gap, user_agent=gap, page_url=gap, clicks=gap
    )

    assert (lead.click_id, lead.clicks) == (CONTEXT.click_id, CONTEXT.clicks)
    assert (lead.ip_address, lead.user_agent) == (CONTEXT.ip_address, CONTEXT.user_agent)
    assert lead.page_url == CONTEXT.page_url


def test_click_ids_of_a_wrong_type_are_refused_with_a_visitor_too():
    with pytest.raises(InvalidConversionError, match=r"^clicks must be a mapping, got str"):
        Conversion.lead(context=CONTEXT, clicks="IwAR")  # type: ignore[arg-type]


def test_what_was_left_out_of_the_request_is_remembered():
    context = visitor({"User-Agent": "x" * 5000}, peer="10.0.0.1")
    customer = Customer(phone="4.91E+11")

    sale = Conversion.sale(
        revenue=5, context=attrs.evolve(context, fbp="fb.1.1.7"), customer=customer
    )
    again = Conversion.sale(revenue=5, context=context, customer=customer, click_id="x" * 2000)

    assert sale.weakened == ("unusable phone numbers",)  # evolve drops the context's kinds
    assert set(again.weakened) == {
        "private IP addresses",
        "over-long texts",
        "unusable phone numbers",
        "unusable click ids",
    }


def test_a_context_without_cookies_makes_no_customer():
    assert Conversion.lead(context=Visitor()).customer is None


def test_a_context_that_is_no_visitor_is_refused():
    request: Any = {"type": "http"}

    with pytest.raises(InvalidConversionError, match="context must be a Visitor, got dict"):
        Conversion.lead(context=request)


def test_a_customer_has_the_cookies_of_a_request():
    scope = {
        "type": "http",
        "query_string": b"fbclid=NEW",
        "headers": [(b"cookie", b"_fbp=fb.1.1700000000000.42; _fbc=fb.1.1700000000000.OLD")],
    }

    customer = Customer.from_request(scope, email="jane@x.example", phone="4.91E+11")

    assert customer == Customer(email="jane@x.example", fbp="fb.1.1700000000000.42", fbclid="NEW")
    assert customer.weakened == ("unusable phone numbers",)
