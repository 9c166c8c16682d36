"""What a constructor leaves out or cuts, its object remembers by kind."""

from __future__ import annotations

import copy
import pickle
from threading import Thread
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

LONG = "x" * 5000


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, ()),
        *(({"ip_address": address}, ("private IP addresses",))
          for address in ("10.0.0.1", "::1", "fe80::1%eth0", "unknown, 192.168.0.7:80", "0.0.0.0")),
        *(({"ip_address": address}, ("unusable IP addresses",))
          for address in ("unknown", "_hidden", "203.0.113.999", ["a", "b"])),
        *(({"ip_address": address}, ())
          for address in (None, "", " ", ",", [], float("nan"), "10.0.0.1, 203.0.113.5")),
        *(({"click_id": click}, ("unusable click ids",))
          for click in ("x" * 1025, "a\0b", 1.5, [1])),
        *(({"click_id": click}, ())
          for click in (None, "", " \n", float("nan"), 7, UUID(int=7), "a")),
        ({"campaign_id": LONG, "ad_id": "a\nb"}, ("unusable ids in links",)),
        ({"source": LONG}, ("unusable names of sources",)),
        ({"user_agent": LONG}, ("over-long texts",)),
        ({"user_agent": ["a"]}, ("unusable texts",)),
        ({"user_agent": "a\0b"}, ()),
        ({"page_url": f"https://x.example/?{LONG}"}, ("over-long URLs",)),
        ({"page_url": 1.5}, ("unusable URLs",)),
        ({"meta": {"referrer_url": LONG}}, ("over-long URLs",)),
        ({"click_id": "a\0b", "user_agent": LONG}, ("unusable click ids", "over-long texts")),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_kinds_of_a_conversion(fields: Any, kinds: tuple[str, ...]):
    assert Conversion.lead(**fields).weakened == kinds


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, ()),
        ({"phone": "4.91E+11"}, ("unusable phone numbers",)),
        ({"phone": ["4.91E+11", "+49 170 1234567"]}, ("unusable phone numbers",)),
        ({"postal_code": "1E+4"}, ("unusable postal codes",)),
        ({"phone": "4917012345678.0", "postal_code": " ", "email": ["", None]}, ()),
        ({"email": LONG}, ("unusable e-mail addresses",)),
        ({"email": "\u200b"}, ()),
        ({"first_name": "\ud800", "last_name": "a\udc00"}, ("unusable names",)),
        ({"fbc": LONG, "fbp": "a\nb"}, ("unusable ids in links",)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_kinds_of_a_customer(fields: Any, kinds: tuple[str, ...]):
    customer = Customer(**fields)

    assert customer.weakened == kinds
    assert Conversion.lead(customer=customer).weakened == kinds


def test_a_conversion_has_its_own_kinds_and_those_of_its_customer():
    customer = Customer(fbc=LONG, phone="4E+9")

    assert Conversion.lead(customer=customer, ad_id=LONG, click_id="a\0b").weakened == (
        *("unusable click ids", "unusable ids in links", "unusable phone numbers"),
    )


def test_kinds_of_a_constructor_that_raised_are_not_those_of_the_next():
    with pytest.raises(InvalidConversionError):
        Conversion.lead(click_id=LONG, customer=3)  # type: ignore[arg-type]
    assert Conversion.lead().weakened == ()

    with pytest.raises(ZeroDivisionError):  # of the caller's own
        Customer(phone="4E+9", fbc=LONG, external_id=(1 // number for number in (1, 0)))
    assert Customer().weakened == ()


def test_threads_do_not_get_the_kinds_of_each_other():
    """Another thread makes conversions while a constructor has noted a kind."""
    made: list[Conversion] = []

    class Slow:
        def __str__(self) -> str:
            thread = Thread(target=lambda: made.append(Conversion.lead()))
            thread.start()
            thread.join()
            return "7"

    slow: Any = Slow()
    weak = Conversion.lead(click_id=LONG, campaign_id=slow)

    assert (weak.weakened, made[0].weakened) == (("unusable click ids",), ())


def test_kinds_are_neither_compared_nor_stored_nor_copied():
    weak, plain = (Conversion.lead(event_id="1", click_id=click) for click in (LONG, None))

    plain = attrs.evolve(plain, timestamp=weak.timestamp)
    assert weak == plain
    assert "unusable" not in repr(weak)
    assert encode(weak).digest == encode(plain).digest
    for twin in (decode(*encode(weak)), pickle.loads(pickle.dumps(weak)), attrs.evolve(weak)):
        assert (twin, twin.weakened) == (weak, ())
    assert copy.copy(weak) == weak


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("click_id", "source", "campaign_id", "ad_id", "ip_address", "user_agent", "page_url"),
            st.from_type(object) | st.text(),
        ),
    )
)
def test_a_value_that_is_kept_or_blank_is_not_weak(fields: dict[str, Any]):
    conversion = Conversion.lead(**fields)

    if all(getattr(conversion, name) == value for name, value in fields.items()):
        assert conversion.weakened == ()
    assert all(value not in kind for kind in conversion.weakened for value in fields.values()
               if isinstance(value, str) and len(value) > 20)  # fmt: skip


def test_an_over_long_sub_id_is_left_out_and_noted():
    longest = "x" * 4_096
    sub_ids = {"s1": "y" * 2_000_000, "s2": longest, "s3": longest + "x", "s4": 7}
    sale = Conversion.sale(revenue=1, order_id="1", sub_ids=sub_ids)

    assert sale.sub_ids == {"s2": longest, "s4": "7"}
    assert sale.weakened == ("over-long sub ids",)
    assert encode(sale).payload  # else it would be too large to be accepted
    assert Conversion.sale(revenue=1, order_id="2", sub_ids={"s2": longest}).weakened == ()
