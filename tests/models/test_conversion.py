"""`Conversion`: its kinds and event ids, its parts, and what all models promise."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.identifiers import new_event_id
from anytrack_async.models.meta import MetaFields
from tests.examples import examples
from tests.models.refusals import SECRET, error_of
from tests.models.strategies import Column, conversions

# The four kinds


def test_a_sale_has_its_product_in_custom_data():
    sale = Conversion.sale(revenue="49.90", product_id="p1", custom_data={"plan": "pro"})

    assert sale.conversion_type is ConversionType.SALE
    assert sale.custom_data == {"plan": "pro", "product_id": "p1"}
    assert sale.currency == "USD"


def test_a_lead_has_its_id_in_custom_data():
    lead = Conversion.lead(click_id="c1", lead_id="l1", revenue=3)

    assert lead.conversion_type is ConversionType.LEAD
    assert lead.custom_data == {"lead_id": "l1"}
    assert (lead.click_id, lead.revenue) == ("c1", Decimal(3))


def test_arguments_not_given_are_not_in_custom_data():
    assert Conversion.sale(revenue=1).custom_data == {}
    assert Conversion.lead().custom_data == {}


def test_a_signup_and_a_custom_event():
    assert Conversion.signup(source="google").conversion_type is ConversionType.SIGNUP
    custom = Conversion.custom("Subscribed", click_id="c1", revenue="1", currency="eur")
    assert (custom.conversion_type, custom.event_name) == (ConversionType.CUSTOM, "Subscribed")
    assert custom.currency == "EUR"


def test_the_type_may_be_given_as_text():
    assert Conversion(conversion_type="lead").conversion_type is ConversionType.LEAD


@pytest.mark.parametrize("kind", ["refund", "", "SALE", None, 1, []])
def test_an_unknown_type_is_refused_and_the_error_lists_the_known_ones(kind: Any):
    error = error_of(conversion_type=kind)

    assert str(error) == "conversion_type must be one of sale, lead, signup, custom"
    assert error.name == "conversion_type"


def test_building_a_sale_does_not_change_its_arguments():
    custom_data = {"plan": {"name": "pro"}}
    sale = Conversion.sale(revenue=1, product_id="p1", custom_data=custom_data)
    custom_data["plan"]["name"] = "free"

    assert sale.custom_data == {"plan": {"name": "pro"}, "product_id": "p1"}
    assert custom_data == {"plan": {"name": "free"}}


# Event ids


def test_the_same_order_is_the_same_event():
    first = Conversion.sale(revenue=1, order_id="1001")
    again = Conversion.sale(revenue=1, order_id="1001")

    assert first.event_id == again.event_id == "sale:1001"


def test_an_order_may_have_one_event_of_each_kind_and_name():
    ids = {
        Conversion.sale(revenue=1, order_id="1").event_id,
        Conversion.lead(order_id="1").event_id,
        Conversion.custom("a", order_id="1").event_id,
        Conversion.custom("b", order_id="1").event_id,
        Conversion(conversion_type="custom", order_id="1").event_id,
    }

    assert len(ids) == 5


def test_names_and_orders_with_colons_do_not_collide():
    ids = {
        Conversion.custom("a", order_id="b:c").event_id,
        Conversion.custom("a:b", order_id="c").event_id,
        Conversion.custom("a%3Ab", order_id="c").event_id,
    }

    assert len(ids) == 3


def test_the_longest_name_and_order_still_make_an_event_id():
    event = Conversion.custom("%" * 50, order_id="x" * 200)

    assert event.event_id == f"custom:{'%25' * 50}:{'x' * 200}"


def test_without_an_order_every_event_id_is_new():
    assert Conversion.lead().event_id != Conversion.lead().event_id


def test_a_given_event_id_is_kept():
    assert Conversion.sale(revenue=1, order_id="1", event_id="mine").event_id == "mine"


def test_a_default_event_id_is_valid_as_an_argument():
    event_id = new_event_id()
    assert Conversion.lead(event_id=event_id).event_id == event_id


def test_a_copy_with_another_order_or_type_has_another_event_id():
    sale = Conversion.sale(revenue=1, order_id="1001")

    assert attrs.evolve(sale, order_id="1002").event_id == "sale:1002"
    assert attrs.evolve(sale, conversion_type="lead").event_id == "lead:1001"
    assert attrs.evolve(sale, conversion_type="custom", event_name="Paid").event_id == (
        "custom:Paid:1001"
    )
    assert attrs.evolve(attrs.evolve(sale, order_id="1002"), order_id="1003").event_id == (
        "sale:1003"
    )
    assert attrs.evolve(sale, order_id=None).event_id not in ("sale:1001", "")
    assert attrs.evolve(sale, revenue=2, source="x").event_id == "sale:1001"


def test_a_copy_keeps_an_event_id_that_is_not_made_from_the_order():
    mine = Conversion.sale(revenue=1, order_id="1001", event_id="mine")
    unordered = Conversion.lead()

    for changes in ({"order_id": "1002"}, {"conversion_type": "lead"}, {"order_id": None}):
        assert attrs.evolve(mine, **changes).event_id == "mine"
    assert attrs.evolve(unordered, source="x").event_id == unordered.event_id
    assert attrs.evolve(unordered, order_id="1001").event_id == unordered.event_id


def test_a_corrected_copy_can_keep_the_event_id():
    sale = Conversion.sale(revenue=1, order_id="1001")
    corrected = attrs.evolve(sale, order_id="1002", event_id=sale.event_id)

    assert corrected.event_id == "sale:1001"
    assert attrs.evolve(corrected, order_id="1003").event_id == "sale:1001"


# Parts


def test_items_may_be_any_iterable_or_a_single_one():
    item = LineItem(id="p1")

    assert Conversion.sale(revenue=1, items=iter([item])).items == (item,)
    assert Conversion.sale(revenue=1, items=Column([item])).items == (item,)
    assert Conversion.sale(revenue=1, items=item).items == (item,)  # type: ignore[arg-type]
    assert Conversion.sale(revenue=1, items=None).items == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("items", [{"id": "p1"}]),
        ("items", "p1"),
        ("items", 5),
        ("customer", {"email": SECRET}),
        ("meta", [("opt_out", True)]),
    ],
)
def test_parts_must_be_of_their_class(field: str, value: Any):
    error = error_of(**{field: value})

    assert error.name == field
    assert SECRET not in str(error)


# What all models promise

FULL = Conversion.sale(
    revenue="49.90",
    click_id="click-secret",
    ip_address="203.0.113.9",
    user_agent="Secret/1.0",
    page_url="https://example.com/?email=" + SECRET,
    custom_data={"email": SECRET},
    sub_ids={"s1": SECRET},
    items=[LineItem(id="secret-item")],
    customer=Customer(email=SECRET),
    meta=MetaFields(extra={"who": SECRET}),
    order_id="1001",
    source="google",
)


def test_the_repr_does_not_identify_the_customer():
    shown = repr(FULL)

    for private in (SECRET, "203.0.113.9", "Secret", "secret"):
        assert private not in shown
    assert "49.90" in shown
    assert "1001" in shown


def test_conversions_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        FULL.revenue = Decimal(1)  # type: ignore[misc]


def test_positional_arguments_are_refused():
    with pytest.raises(TypeError):
        Conversion("sale")  # type: ignore[misc]


@given(conversions)
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
def test_every_conversion_survives_pickling_and_is_hashable(conversion: Conversion):
    again = pickle.loads(pickle.dumps(conversion))

    assert again == conversion
    assert {conversion: 1}[again] == 1


def test_a_changed_copy_keeps_its_key_and_is_checked():
    copy = attrs.evolve(FULL, revenue=5)

    assert copy.event_id == FULL.event_id
    with pytest.raises(InvalidConversionError):
        attrs.evolve(FULL, revenue=-1)
