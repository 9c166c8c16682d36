from decimal import Decimal

import orjson
import pytest

from anytrack_async.destinations.meta.custom_data import custom_data
from anytrack_async.models.conversion import LineItem
from anytrack_async.models.meta import MetaContent, MetaCustomData, MetaFields


def test_value_is_a_number_with_its_currency(conversion):
    data = custom_data(conversion(revenue=Decimal("1234.50"), currency="EUR"), "Purchase")

    assert orjson.dumps(data) == b'{"value":1234.5,"currency":"EUR","order_id":"o1"}'


@pytest.mark.parametrize("amount", ["0.01", "9.9", "99999999999.99", "0.1", "1e-9"])
def test_value_keeps_every_digit(conversion, amount):
    data = orjson.loads(orjson.dumps(custom_data(conversion(revenue=amount), "Purchase")))

    assert Decimal(str(data["value"])) == Decimal(amount)


def test_free_purchase_has_a_value_and_a_free_lead_has_none(conversion):
    free = conversion(revenue=0, order_id=None)

    assert custom_data(free, "Purchase") == {"value": 0.0, "currency": "USD"}
    assert custom_data(free, "Lead") == {}


def test_own_fields_pass_flat_but_never_override(conversion):
    own = {"value": 1, "currency": "XXX", "order_id": "x", "coupon": "SPRING", "tags": ["a"]}
    data = custom_data(conversion(custom_data=own), "Purchase")

    assert data == {
        "value": 19.99,
        "currency": "USD",
        "order_id": "o1",
        "coupon": "SPRING",
        "tags": ["a"],
    }


def test_own_value_does_not_stand_in_for_revenue(conversion):
    free = conversion(revenue=0, order_id=None, custom_data={"value": 1, "currency": "USD"})

    assert custom_data(free, "Lead") == {}


def test_fields_without_value_and_internal_keys_are_left_out(conversion):
    own = {"note": None, "event_id": "e", "lead_id": "L1"}
    data = custom_data(conversion(custom_data=own, order_id=None), "Lead")

    assert data == {"value": 19.99, "currency": "USD", "lead_id": "L1"}


def test_items_become_contents(conversion):
    items = [
        LineItem(id="a", quantity=2, price="5.50", title="Ant", category="Insects", brand="B"),
        LineItem(id="b"),
        LineItem(id="a", quantity=3),
    ]
    data = custom_data(conversion(items=items, custom_data={"product_id": "p"}), "Purchase")

    assert data["contents"] == [
        {
            "id": "a",
            "quantity": 2,
            "item_price": 5.5,
            "title": "Ant",
            "category": "Insects",
            "brand": "B",
        },
        {"id": "b", "quantity": 1},
        {"id": "a", "quantity": 3},
    ]
    assert data["content_ids"] == ["a", "b"]
    assert data["num_items"] == 6
    assert "product_id" not in data
    assert "content_type" not in data


@pytest.mark.parametrize(("product", "ids"), [("p", ["p"]), (7, ["7"])])
def test_product_id_names_the_content_without_items(conversion, product, ids):
    data = custom_data(conversion(custom_data={"product_id": product}), "Purchase")

    assert data["content_ids"] == ids
    assert "product_id" not in data


@pytest.mark.parametrize("product", ["", ["p"], None, {"id": 1}])
def test_unusable_product_id_is_left_out(conversion, product):
    assert "content_ids" not in custom_data(
        conversion(custom_data={"product_id": product}), "Purchase"
    )


def test_given_content_ids_stand(conversion):
    own = {"product_id": "p", "content_ids": ["q"]}

    assert custom_data(conversion(custom_data=own), "Purchase")["content_ids"] == ["q"]


def test_metas_own_parameters_win(conversion):
    fields = MetaCustomData(
        net_revenue="-2.5",
        content_name="Ant farm",
        content_category="Toys",
        content_ids=["x", 1],
        contents=[MetaContent(id=1, item_price="2", delivery_category="curbside", description="d")],
        content_type="product_group",
        delivery_category="in_store",
        predicted_ltv=100,
        num_items=9,
        status="done",
        search_string="ants",
    )
    given = conversion(
        items=[LineItem(id="a")],
        custom_data={"status": "open", "color": "red"},
        meta=MetaFields(custom_data=fields),
    )

    assert custom_data(given, "Purchase") == {
        "value": 19.99,
        "currency": "USD",
        "order_id": "o1",
        "color": "red",
        "net_revenue": -2.5,
        "content_name": "Ant farm",
        "content_category": "Toys",
        "content_ids": ["x", "1"],
        "contents": [
            {"id": "1", "item_price": 2.0, "description": "d", "delivery_category": "curbside"}
        ],
        "content_type": "product_group",
        "delivery_category": "in_store",
        "predicted_ltv": 100.0,
        "num_items": 9,
        "status": "done",
        "search_string": "ants",
    }
