from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import get_args

import orjson
import pytest

from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.meta import ActionSource, CustomerSegment, MetaFields
from anytrack_async.models.meta_origin import MetaAppData, MetaAttributionData, MetaOriginalEvent
from anytrack_async.models.meta_parts import MetaContent, MetaCustomData, MetaUserData

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
FULL = MetaFields(
    action_source="app",
    event_name="Subscribe",
    referrer_url="https://x.example",
    opt_out=False,
    messaging_channel="messenger",
    data_processing_options=("LDU",),
    data_processing_options_country=1,
    data_processing_options_state=1013,
    customer_segmentation="customer_in_loyalty_program",
    user_data=MetaUserData(lead_id=123456789012345678, madid="m", extra={"new": [1]}),
    custom_data=MetaCustomData(
        net_revenue="-1.50",
        predicted_ltv=Decimal("10.10"),
        contents=[MetaContent(id=7, quantity=2, item_price="9.90", delivery_category="curbside")],
        content_ids=["a", 7],
        num_items=0,
    ),
    app_data=MetaAppData(
        advertiser_tracking_enabled=True,
        consider_views=False,
        extinfo=["a2", *[""] * 3, 13, *[""] * 11],
    ),
    original_event_data=MetaOriginalEvent(event_name="Lead", event_time=NOON),
    attribution_data=MetaAttributionData(
        attribution_share=0.25, attribution_model="linear", attribution_method="srn", attr_window=7
    ),
    extra={"later": {"a": [1, None]}},
)


@pytest.mark.parametrize("meta", [FULL, MetaFields(), MetaFields(data_processing_options=())])
def test_stored_fields_come_back_exactly(meta):
    given = Conversion.sale(revenue=1, meta=meta)
    back = decode(encode(given).payload)

    assert back == given
    assert back.meta == meta
    assert encode(back) == encode(given)


def test_flags_come_back_as_flags():
    back = decode(encode(Conversion.sale(revenue=1, meta=FULL)).payload).meta

    assert back.opt_out is False
    assert back.app_data.advertiser_tracking_enabled is True


def test_record_without_the_field_still_reads():
    payload = encode(Conversion.sale(revenue=1, event_id="e")).payload

    assert b"meta" not in payload
    assert decode(payload).meta is None


def test_fields_count_for_the_content():
    plain = Conversion.sale(revenue=1, event_id="e", timestamp=NOON)
    told = Conversion.sale(revenue=1, event_id="e", timestamp=NOON, meta=MetaFields(opt_out=True))

    assert encode(plain).digest != encode(told).digest


@pytest.mark.parametrize("source", get_args(ActionSource))
def test_every_action_source_is_taken(source):
    assert MetaFields(action_source=source).action_source == source


@pytest.mark.parametrize("segment", get_args(CustomerSegment))
def test_every_segment_is_taken(segment):
    assert MetaFields(customer_segmentation=segment).customer_segmentation == segment


@pytest.mark.parametrize("state", [0, *range(1000, 1014)])
def test_every_state_is_taken(state):
    assert MetaFields(data_processing_options_state=state).data_processing_options_state == state


EXTINFO = ["a2", *[""] * 3, "13", *[""] * 11]


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        (MetaFields, "action_source", "web"),
        (MetaFields, "action_source", ["website"]),
        (MetaFields, "event_name", ""),
        (MetaFields, "event_name", "x" * 51),
        (MetaFields, "referrer_url", 1),
        (MetaFields, "opt_out", 1),
        (MetaFields, "opt_out", "false"),
        (MetaFields, "messaging_channel", "sms"),
        (MetaFields, "data_processing_options", ["GDPR"]),
        (MetaFields, "data_processing_options", 1),
        (MetaFields, "data_processing_options", "GDPR"),
        (MetaFields, "data_processing_options_country", 2),
        (MetaFields, "data_processing_options_country", True),
        (MetaFields, "data_processing_options_country", 1.0),
        (MetaFields, "data_processing_options_state", 999),
        (MetaFields, "data_processing_options_state", 1014),
        (MetaFields, "customer_segmentation", "new"),
        (MetaFields, "user_data", {"lead_id": 1}),
        (MetaFields, "custom_data", {}),
        (MetaFields, "app_data", "x"),
        (MetaFields, "extra", {"user_data": {}}),
        (MetaFields, "extra", {"event_time": 1}),
        (MetaFields, "extra", ["a"]),
        (MetaFields, "extra", {"a": float("nan")}),
        (MetaUserData, "lead_id", True),
        (MetaUserData, "lead_id", ""),
        pytest.param(MetaUserData, "lead_id", 10**5000, id="huge id"),
        (MetaUserData, "madid", "x" * 5000),
        (MetaUserData, "extra", {"em": "jane@example.com"}),
        (MetaUserData, "extra", {"fbc": "x"}),
        (MetaContent, "quantity", 1.5),
        (MetaContent, "quantity", True),
        (MetaContent, "quantity", -1),
        (MetaContent, "item_price", -1),
        (MetaContent, "delivery_category", "drone"),
        (MetaCustomData, "net_revenue", float("nan")),
        (MetaCustomData, "net_revenue", float("inf")),
        (MetaCustomData, "net_revenue", "much"),
        (MetaCustomData, "net_revenue", True),
        (MetaCustomData, "net_revenue", []),
        (MetaCustomData, "predicted_ltv", 10**16),
        pytest.param(MetaCustomData, "predicted_ltv", 10**5000, id="huge number"),
        (MetaCustomData, "content_ids", "abc"),
        (MetaCustomData, "content_ids", [1.5]),
        (MetaCustomData, "content_ids", ["\ud800"]),
        (MetaCustomData, "contents", [{"id": "a"}]),
        (MetaCustomData, "contents", "x"),
        (MetaCustomData, "content_type", "thing"),
        (MetaCustomData, "num_items", 2**63),
        (MetaAppData, "extinfo", EXTINFO[:15]),
        (MetaAppData, "extinfo", ["a3", *EXTINFO[1:]]),
        (MetaAppData, "extinfo", ["a2", *[""] * 15]),
        (MetaAppData, "consider_views", 0),
        (MetaOriginalEvent, "event_time", datetime(2026, 1, 1)),
        (MetaOriginalEvent, "event_time", 1),
        (MetaAttributionData, "attribution_share", 1.1),
        (MetaAttributionData, "attribution_model", "mine"),
        (MetaAttributionData, "attribution_method", "mine"),
    ],
)
def test_fault_is_told_by_field_never_by_value(cls, field, value):
    with pytest.raises(InvalidConversionError) as caught:
        cls(**{field: value})

    assert caught.value.name.split(".")[0] == field
    assert "jane" not in str(caught.value)


def test_conversion_takes_nothing_else_as_fields():
    with pytest.raises(InvalidConversionError, match="meta must be MetaFields"):
        Conversion.sale(revenue=1, meta={"opt_out": True})


def test_one_content_may_stand_alone():
    assert MetaCustomData(contents=MetaContent(id=1)).contents == (MetaContent(id="1"),)


def test_times_are_kept_in_utc():
    at = datetime(2026, 9, 1, 14, tzinfo=timezone(timedelta(hours=2)))

    assert MetaOriginalEvent(event_time=at).event_time == NOON


def test_what_is_shown_names_the_fields_only():
    shown = [
        repr(part) for part in (FULL, FULL.user_data, FULL.custom_data, FULL.app_data, FULL.extra)
    ]

    assert shown[1] == "MetaUserData(lead_id=…, madid=…, extra=…)"
    assert "x.example" not in "".join(shown)
    assert "meta" not in repr(Conversion.sale(revenue=1, meta=FULL))


def test_everything_stored_is_plain_json():
    assert orjson.loads(encode(Conversion.sale(revenue=1, meta=FULL)).payload)["content"]["meta"]
