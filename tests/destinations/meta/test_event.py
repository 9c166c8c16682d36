import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import orjson
import pytest

from anytrack_async.destinations.meta.encoding import count_weaknesses
from anytrack_async.destinations.meta.event import FUTURE, custom_data, to_event, to_events
from anytrack_async.models.conversion import Conversion, LineItem
from anytrack_async.models.meta import (
    MetaAppData,
    MetaAttributionData,
    MetaContent,
    MetaCustomData,
    MetaFields,
    MetaOriginalEvent,
)

NOW = 1_800_000_000.0
THEN = datetime.fromtimestamp(NOW - 60, UTC)


def test_sale_is_a_complete_purchase(conversion, settings):
    event = to_event(conversion(timestamp=THEN), settings(), now=NOW)

    assert event == {
        "event_name": "Purchase",
        "event_time": 1_799_999_940,
        "event_id": "sale:o1",
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_data": {
            "em": ["5adac64bf384b526137370a8294a3b0f1fd1071b9792ce43a161534d0178d5da"],
            "client_user_agent": "Mozilla/5.0",
        },
        "custom_data": {"value": 19.99, "currency": "USD", "order_id": "o1"},
    }


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"conversion_type": "sale"}, "Purchase"),
        ({"conversion_type": "lead"}, "Lead"),
        ({"conversion_type": "signup"}, "CompleteRegistration"),
        ({"conversion_type": "custom", "event_name": "Subscribed"}, "Subscribed"),
        ({"conversion_type": "custom"}, "CustomEvent"),
        ({"meta": MetaFields(event_name="Donate")}, "Donate"),
    ],
)
def test_event_has_metas_name(conversion, settings, fields, name):
    assert to_event(conversion(**fields), settings())["event_name"] == name


def test_settings_may_name_events_and_meta_fields_take_precedence(conversion, settings):
    meta_settings = settings(event_name=lambda sale: "Subscribe" if sale.revenue > 10 else None)

    assert to_event(conversion(), meta_settings)["event_name"] == "Subscribe"
    assert to_event(conversion(revenue=1), meta_settings)["event_name"] == "Purchase"
    fields = MetaFields(event_name="StartTrial")
    assert to_event(conversion(meta=fields), meta_settings)["event_name"] == "StartTrial"


def test_conversion_from_the_future_is_dated_now(conversion, settings):
    event = to_event(conversion(timestamp=THEN + timedelta(hours=1)), settings(), now=NOW)

    assert event["event_time"] == NOW


def test_times_far_in_the_future_are_counted(conversion, settings):
    weaknesses: list = []
    latest = datetime.fromtimestamp(NOW, UTC)
    ahead = [conversion(timestamp=latest + timedelta(minutes=minutes)) for minutes in (0, 5, 15)]

    events = to_events(ahead, settings(), now=NOW, weaknesses=weaknesses)

    assert [event["event_time"] for event in events] == [NOW] * 3
    assert count_weaknesses(events, weaknesses)[FUTURE] == 1


def test_time_defaults_to_the_present(conversion, settings):
    before = int(time.time())
    event = to_event(conversion(timestamp=datetime.now(UTC) + timedelta(days=1)), settings())

    assert before <= event["event_time"] <= time.time()


@pytest.mark.parametrize("url", ["ftp://shop.example", "shop.example/x", "javascript:alert(1)"])
def test_page_url_without_http_is_left_out(conversion, settings, url):
    assert "event_source_url" not in to_event(conversion(page_url=url), settings())


def test_scheme_of_the_page_may_be_upper_case(conversion, settings):
    event = to_event(conversion(page_url="HTTPS://Shop.Example"), settings())

    assert event["event_source_url"] == "HTTPS://Shop.Example"


def test_settings_give_the_defaults(conversion, settings):
    meta_settings = settings(action_source="email", opt_out=True, limited_data_use=True)
    event = to_event(conversion(), meta_settings)

    assert event["action_source"] == "email"
    assert event["opt_out"] is True
    assert event["data_processing_options"] == ["LDU"]
    assert event["data_processing_options_country"] == 0
    assert event["data_processing_options_state"] == 0


def test_fields_override_the_settings(conversion, settings):
    fields = MetaFields(action_source="app", opt_out=False, data_processing_options=())
    event = to_event(
        conversion(meta=fields),
        settings(action_source="email", opt_out=True, limited_data_use=True),
    )

    assert event["action_source"] == "app"
    assert event["opt_out"] is False
    assert event["data_processing_options"] == []
    assert "data_processing_options_country" not in event


def test_limited_data_use_asks_meta_for_the_state_unless_given(conversion, settings):
    unknown = MetaFields(data_processing_options=("LDU",))
    california = MetaFields(
        data_processing_options="LDU",
        data_processing_options_country=1,
        data_processing_options_state=1000,
    )

    event = to_event(conversion(meta=unknown), settings())
    assert event["data_processing_options_country"] == 0
    assert event["data_processing_options_state"] == 0
    event = to_event(conversion(meta=california), settings())
    assert event["data_processing_options"] == ["LDU"]
    assert event["data_processing_options_country"] == 1
    assert event["data_processing_options_state"] == 1000


def test_every_parameter_of_an_event_can_be_set(conversion, settings):
    fields = MetaFields(
        referrer_url="https://search.example/",
        messaging_channel="whatsapp",
        customer_segmentation="new_customer_to_business",
        app_data=MetaAppData(
            advertiser_tracking_enabled=True,
            application_tracking_enabled=False,
            extinfo=["i2", "", "", "", 17, *[""] * 11],
            url_schemes=["shop"],
        ),
        original_event_data=MetaOriginalEvent(event_time=THEN, order_id=7),
        attribution_data=MetaAttributionData(
            ad_id=12, attribution_share="0.5", touchpoint_ts=THEN, inactivity_window_hours=24
        ),
        extra={"advanced_measurement_table": "t"},
    )
    event = to_event(conversion(meta=fields), settings())

    assert event["referrer_url"] == "https://search.example/"
    assert event["messaging_channel"] == "whatsapp"
    assert event["customer_segmentation"] == "new_customer_to_business"
    assert event["app_data"] == {
        "advertiser_tracking_enabled": True,
        "application_tracking_enabled": False,
        "extinfo": ["i2", "", "", "", "17", *[""] * 11],
        "url_schemes": ["shop"],
    }
    assert event["original_event_data"] == {"event_time": 1_799_999_940, "order_id": "7"}
    assert event["attribution_data"] == {
        "ad_id": "12",
        "attribution_share": 0.5,
        "touchpoint_ts": 1_799_999_940,
        "attribution_setting": {"inactivity_window_hours": 24},
    }
    assert event["advanced_measurement_table"] == "t"


def test_empty_objects_are_left_out(conversion, settings):
    fields = MetaFields(
        app_data=MetaAppData(),
        original_event_data=MetaOriginalEvent(),
        attribution_data=MetaAttributionData(),
        custom_data=MetaCustomData(),
    )
    plain = conversion(timestamp=THEN)

    assert to_event(conversion(timestamp=THEN, meta=fields), settings()) == to_event(
        plain, settings()
    )


def test_lead_without_revenue_has_no_custom_data(settings):
    event = to_event(Conversion.lead(revenue=Decimal(0)), settings())

    assert "custom_data" not in event


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


def test_own_fields_are_copied_but_never_override(conversion):
    own = {"value": 1, "currency": "XXX", "order_id": "x", "coupon": "SPRING", "tags": ["a"]}
    data = custom_data(conversion(custom_data=own), "Purchase")

    assert data == {
        "value": 19.99,
        "currency": "USD",
        "order_id": "o1",
        "coupon": "SPRING",
        "tags": ["a"],
    }


def test_own_value_does_not_replace_the_revenue(conversion):
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


def test_given_content_ids_are_kept(conversion):
    own = {"product_id": "p", "content_ids": ["q"]}

    assert custom_data(conversion(custom_data=own), "Purchase")["content_ids"] == ["q"]


def test_metas_own_parameters_take_precedence(conversion):
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
    sale = conversion(
        items=[LineItem(id="a")],
        custom_data={"status": "open", "color": "red"},
        meta=MetaFields(custom_data=fields),
    )

    assert custom_data(sale, "Purchase") == {
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


@pytest.mark.parametrize(("flag", "sent"), [(True, 1), (0, 0), ("1", 1)])
def test_flags_of_an_app_are_sent_as_numbers(conversion, settings, flag, sent):
    app_data = {"advertiser_tracking_enabled": flag, "consider_views": True}

    event = to_event(conversion(meta={"app_data": app_data}), settings())

    assert orjson.dumps(event["app_data"]) == orjson.dumps(
        {"advertiser_tracking_enabled": sent, "consider_views": True}
    )
