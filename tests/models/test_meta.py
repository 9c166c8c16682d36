import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args

import orjson
import pytest

from anytrack_async.codec.storage import decode, encode
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.meta import (
    MetaAppData,
    MetaAttributionData,
    MetaContent,
    MetaCustomData,
    MetaFields,
    MetaOriginalEvent,
    MetaUserData,
)
from anytrack_async.models.meta_types import ActionSource, CustomerSegment

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
    conversion = Conversion.sale(revenue=1, meta=meta)
    back = decode(encode(conversion).payload)

    assert back == conversion
    assert back.meta == conversion.meta
    assert encode(back) == encode(conversion)


@pytest.mark.parametrize(
    ("flag", "kept"),
    [
        *((True, True), (False, False), (1, True), (0, False), ("1", True), ("0", False)),
        *((1.0, True), (Decimal(0), False), (" True ", True), ("false", False)),
        *((Decimal("1.00"), True), ("0.00", False), (-0.0, False), ("1\u200b", True)),
    ],
    ids=repr,
)
def test_flags_of_an_app_may_be_numbers(flag, kept):
    checked = Conversion.lead(meta={"app_data": {"advertiser_tracking_enabled": flag}})

    assert checked.meta["app_data"]["advertiser_tracking_enabled"] is kept


@pytest.mark.parametrize("flag", [2, -1, "yes", 0.5, [1], object()], ids=lambda flag: type(flag))
def test_other_flags_of_an_app_are_refused(flag):
    with pytest.raises(InvalidConversionError, match="must be True, False, 0 or 1, got ") as caught:
        Conversion.lead(meta={"app_data": {"application_tracking_enabled": flag}})
    assert caught.value.name == "meta.app_data.application_tracking_enabled"


def test_flags_come_back_as_flags():
    back = decode(encode(Conversion.sale(revenue=1, meta=FULL)).payload).meta

    assert back["opt_out"] is False
    assert back["app_data"]["advertiser_tracking_enabled"] is True


def test_record_without_the_field_still_reads():
    payload = encode(Conversion.sale(revenue=1, event_id="e")).payload

    assert b"meta" not in payload
    assert decode(payload).meta is None


def test_parameters_are_part_of_the_digest():
    plain = Conversion.sale(revenue=1, event_id="e", timestamp=NOON)
    marked = Conversion.sale(revenue=1, event_id="e", timestamp=NOON, meta=MetaFields(opt_out=True))

    assert encode(plain).digest != encode(marked).digest


def sale(**parameters: Any) -> Conversion:
    return Conversion.sale(revenue=1, event_id="e", timestamp=NOON, meta=parameters)


def meta(**parameters: Any) -> Any:
    """What a conversion keeps of *parameters*."""
    return sale(**parameters).meta


@pytest.mark.parametrize("source", get_args(ActionSource))
def test_every_action_source_is_allowed(source):
    assert meta(action_source=source) == {"action_source": source}


@pytest.mark.parametrize("segment", get_args(CustomerSegment))
def test_every_customer_segment_is_allowed(segment):
    assert meta(customer_segmentation=segment) == {"customer_segmentation": segment}


@pytest.mark.parametrize("state", [0, *range(1000, 1014)])
def test_every_state_is_allowed(state):
    assert meta(data_processing_options_state=state) == {"data_processing_options_state": state}


EXTINFO = ["a2", *[""] * 3, "13", *[""] * 11]


class Unprintable:
    """Neither its text nor a comparison with it can be had."""

    def __str__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("action_source", "web", "must be one of email, website, app"),
        ("action_source", ["website"], "must be one of email"),
        ("event_name", "x" * 51, "must not be longer than 50 characters"),
        ("event_name", " jane", "must not start or end with whitespace"),
        ("event_name", "jane\ndoe", "must be printable"),
        ("opt_out", 2, "must be True, False, 0 or 1, got int"),
        ("opt_out", Unprintable(), "must be True, False, 0 or 1, got Unprintable"),
        ("opt_out", "no", "must be True, False, 0 or 1, got str"),
        ("messaging_channel", "sms", "must be one of messenger, whatsapp, instagram"),
        ("data_processing_options", ["GDPR"], "must be () or ('LDU',)"),
        ("data_processing_options", [Unprintable()], "must be () or ('LDU',)"),
        ("data_processing_options", 1, "must be () or ('LDU',)"),
        ("data_processing_options", "GDPR", "must be () or ('LDU',)"),
        ("data_processing_options_country", 2, "must be one of 0, 1"),
        ("data_processing_options_country", True, "must be one of 0, 1"),
        ("data_processing_options_country", 0.5, "must be one of 0, 1"),
        ("data_processing_options_state", 999, "must be one of 0, 1000, 1001"),
        ("data_processing_options_state", 1014, "must be one of 0, 1000, 1001"),
        ("customer_segmentation", "new", "must be one of new_customer_to_business"),
        ("user_data", [1], "must be MetaUserData or a dict, got list"),
        ("app_data", "x", "must be MetaAppData or a dict, got str"),
        ("extra", {"user_data": {}}, "must not contain user_data"),
        ("extra", {"event_time": 1}, "must not contain event_time"),
        ("extra", ["a"], "must be a mapping, got list"),
        ("extra.a", float("inf"), "must be a finite number"),
        ("user_data.lead_id", True, "must be text, got bool"),
        pytest.param("user_data.lead_id", 10**5000, "must be text, got int", id="huge id"),
        ("user_data.madid", "x" * 5000, "must not be longer than 4096 characters"),
        ("user_data.extra", {"em": "jane@example.com"}, "must not contain em: set them on"),
        ("user_data.extra", {"fbc": "x", "em": 1}, "must not contain em, fbc"),
        ("custom_data.contents[0].quantity", 1.5, "must be a whole number"),
        ("custom_data.contents[0].quantity", True, "must be an integer, got bool"),
        ("custom_data.contents[0].quantity", -1, "must be at least 0"),
        ("custom_data.contents[0].item_price", -1, "must be a number from 0 to 1000000000000000"),
        ("custom_data.contents[0].delivery_category", "drone", "must be one of in_store"),
        ("custom_data.contents[0].colour", "red", "is not a parameter of MetaContent; it has id,"),
        ("custom_data.net_revenue", float("inf"), "must be a number from -1000000000000000 to 1"),
        ("custom_data.net_revenue", "much", "must be a number such as '1299.90'"),
        ("custom_data.net_revenue", True, "must be a number, got bool"),
        ("custom_data.net_revenue", [], "must be a number, got list"),
        ("custom_data.predicted_ltv", 10**16, "must be a number from"),
        pytest.param("custom_data.predicted_ltv", 10**5000, "must be a number from", id="huge"),
        ("custom_data.content_ids[0]", object(), "must be text, got object"),
        ("custom_data.content_ids[1]", 1.5, "must be text, got float"),
        ("custom_data.content_ids[0]", "\ud800", "contains an unpaired surrogate"),
        ("custom_data.contents[0]", "x", "must be MetaContent or a dict, got str"),
        ("custom_data.content_type", "thing", "must be one of product, product_group"),
        ("custom_data.num_items", 2**63, "must be less than 9223372036854775808"),
        ("app_data.extinfo", EXTINFO[:15], "must have 16 values; use '' for an unknown one"),
        ("app_data.extinfo", ["a3", *EXTINFO[1:]], "must start with 'a2' (Android) or 'i2' (iOS)"),
        ("app_data.extinfo", ["a2", *[""] * 15], "must have the OS version as its fifth value"),
        ("app_data.consider_views", -1, "must be True, False, 0 or 1, got int"),
        ("original_event_data.event_time", datetime(2026, 1, 1), "needs a time zone"),
        ("original_event_data.event_time", "2026-01-01T00:00:00", "needs a time zone"),
        ("original_event_data.event_time", "soon", "must be a datetime, or ISO 8601 text"),
        ("original_event_data.event_time", 1, "must be a datetime, got int"),
        ("attribution_data.attribution_share", 1.1, "must be a number from 0 to 1"),
        ("attribution_data.attribution_model", "mine", "must be one of customized_multi_touch"),
        ("attribution_data.attribution_method", "mine", "must be one of ard"),
        ("colour", "red", "is not a parameter of MetaFields; it has action_source,"),
        ("…", "red", "is not a parameter of MetaFields"),
    ],
)
def test_error_has_the_path_and_never_the_value(path, value, problem):
    with pytest.raises(InvalidConversionError) as caught:
        meta(**nested(path, value))

    assert caught.value.name == f"meta.{path}"
    assert str(caught.value).startswith(f"meta.{path} {problem}")
    assert "jane" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).name == caught.value.name


def nested(path: str, value: Any) -> Any:
    """Return {"a": {"b": ["", {"c": value}]}} for "a.b[1].c"; "…" is a customer's e-mail."""
    for step in reversed(path.split(".")):
        name, bracket, index = step.replace("…", "jane@example.com").partition("[")
        value = {name: [*[""] * int(index[:-1]), value] if bracket else value}
    return value


@pytest.mark.parametrize("value", [1, "x", [("opt_out", True)], True])
def test_values_other_than_a_dict_are_refused(value):
    with pytest.raises(InvalidConversionError, match=r"^meta must be MetaFields or a dict, got "):
        Conversion.sale(revenue=1, meta=value)


def test_parameters_may_be_given_as_a_plain_dict():
    plain = {"opt_out": True, "custom_data": {"net_revenue": Decimal(5)}}
    typed = MetaFields(opt_out=True, custom_data=MetaCustomData(net_revenue=Decimal(5)))

    assert sale(**plain) == sale(**typed)
    assert encode(sale(**plain)) == encode(sale(**typed))


def test_changing_the_callers_dict_does_not_change_the_conversion():
    parameters = {
        "event_name": "Subscribe",
        "extra": {"deep": [1]},
        "user_data": {"extra": {"deep": {"a": 1}}},
        "custom_data": {"content_ids": ["a"], "contents": [{"id": "a"}]},
    }
    conversion = sale(**parameters)
    before = encode(conversion)
    parameters["event_name"] = "Donate"
    parameters["extra"]["deep"].append(2)
    parameters["user_data"]["extra"]["deep"]["a"] = 2
    parameters["custom_data"]["content_ids"].append("b")
    parameters["custom_data"]["contents"][0]["id"] = "b"

    assert encode(conversion) == before


def test_none_and_an_empty_extra_count_as_not_given():
    assert meta(opt_out=None, extra={}, user_data={"lead_id": None, "extra": {}}) == {
        "user_data": {}
    }
    assert sale(opt_out=None) == sale()
    assert encode(sale(opt_out=None)) == encode(sale())


def test_parameters_are_kept_in_a_fixed_order():
    assert [*meta(opt_out=True, action_source="app")] == ["action_source", "opt_out"]


class Array:
    """Values as numpy has them."""

    def __init__(self, *values: object) -> None:
        self.values = values

    def __iter__(self) -> Iterator[object]:
        return iter(self.values)


def test_lists_may_be_arrays_and_bytes_are_no_list():
    device = ("i2", *[""] * 3, "17", *[""] * 11)
    checked = Conversion.lead(
        meta={
            "data_processing_options": Array("LDU"),
            "custom_data": {"content_ids": Array(7.0, "b"), "contents": Array({"id": 1})},
            "app_data": {"extinfo": Array(*device)},
        }
    ).meta

    assert checked["data_processing_options"] == ("LDU",)
    assert checked["custom_data"]["content_ids"] == ("7", "b")
    assert checked["custom_data"]["contents"][0]["id"] == "1"
    assert checked["app_data"]["extinfo"] == device
    for wrong in (b"SKU", {"a": 1}):
        with pytest.raises(InvalidConversionError, match="must be text, got"):
            Conversion.lead(meta={"custom_data": {"content_ids": wrong}})


def test_the_text_of_a_gap_is_not_given():
    gaps = {"opt_out": "nan", "action_source": "None", "original_event_data": {"event_time": "NaT"}}

    assert Conversion.lead(meta=gaps).meta == {"original_event_data": {}}


def test_a_single_content_needs_no_list():
    assert meta(custom_data={"contents": {"id": 1}})["custom_data"]["contents"] == ({"id": "1"},)


@pytest.mark.parametrize(
    "time",
    [datetime(2026, 9, 1, 14, tzinfo=timezone(timedelta(hours=2))), "2026-09-01T14:00:00+02:00"],
)
def test_times_are_kept_in_utc(time):
    event_time = meta(original_event_data={"event_time": time})["original_event_data"]["event_time"]

    assert event_time == NOON
    assert event_time.tzinfo is UTC


def test_the_repr_shows_names_and_no_values():
    conversion = Conversion.sale(revenue=1, meta=FULL)

    assert repr(conversion.meta["user_data"]) == "{'lead_id': …, 'madid': …, 'extra': …}"
    assert "x.example" not in repr(conversion.meta)
    assert "meta" not in repr(conversion)


def test_conversions_with_parameters_survive_pickling_and_are_hashable():
    conversion = Conversion.sale(revenue=1, meta=FULL)
    copy = pickle.loads(pickle.dumps(conversion))

    assert copy == conversion
    assert encode(copy) == encode(conversion)
    assert {conversion: 1}[copy] == 1


STORED = orjson.dumps(
    {
        "v": 1,
        "timestamp": "2026-09-01T12:00:00+00:00",
        "content": {
            "conversion_type": "sale",
            "event_id": "e",
            "revenue": "1",
            "meta": {
                "data_processing_options": ["LDU"],
                "user_data": {"lead_id": "5", "extra": {"new": [1]}},
                "custom_data": {
                    "contents": [{"id": "7", "quantity": 2, "item_price": "9.9"}],
                    "net_revenue": "-1.5",
                },
                "app_data": {},
                "original_event_data": {"event_time": "2026-09-01T12:00:00+00:00"},
            },
        },
    }
)


def test_a_stored_conversion_of_version_1_is_read():
    back = decode(STORED)

    assert back == sale(
        data_processing_options=["LDU"],
        user_data={"lead_id": 5, "extra": {"new": [1]}},
        custom_data={
            "contents": [{"id": 7, "quantity": 2, "item_price": "9.90"}],
            "net_revenue": "-1.50",
        },
        app_data={},
        original_event_data={"event_time": NOON},
    )
    assert orjson.loads(encode(back).payload) == orjson.loads(STORED)


def test_everything_stored_is_plain_json():
    assert orjson.loads(encode(Conversion.sale(revenue=1, meta=FULL)).payload)["content"]["meta"]
