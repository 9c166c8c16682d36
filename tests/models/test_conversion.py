"""`Conversion`: what can be built, what cannot, and what the messages say."""

from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Integral
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion, ConversionType, LineItem
from anytrack_async.models.customer import Customer
from anytrack_async.models.identifiers import new_event_id
from anytrack_async.models.meta import MetaFields
from tests.examples import examples
from tests.models.strategies import FLOATS, Column, conversions

SECRET = "jane@example.com"


def error_of(**fields: Any) -> InvalidConversionError:
    """The error that a sale with *fields* raises."""
    with pytest.raises(InvalidConversionError) as caught:
        Conversion(**{"conversion_type": "sale", **fields})
    return caught.value


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


# Money


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Decimal("0.10"), "0.10"),
        (Decimal("1E-7"), "1E-7"),
        (0, "0"),
        (49.9, "49.9"),
        (0.1 + 0.2, "0.30000000000000004"),
        (" 49.90 ", "49.90"),
        ("-0", "0"),
        (-0.0, "0.0"),
        ("999999999999999.99", "999999999999999.99"),
    ],
)
def test_amounts_keep_every_digit(value: Any, stored: str):
    assert str(Conversion.sale(revenue=value).revenue) == stored


@pytest.mark.parametrize(
    ("revenue", "words"),
    [
        ("NaN", "needs an amount"),
        (float("inf"), "finite"),
        (Decimal("sNaN"), "needs an amount"),
        (-1, "negative"),
        ("-0.01", "negative"),
        (10**15, "10^15"),
        pytest.param(10**5000, "10^15", id="5001 digits"),
        ("1E+999999", "10^15"),
        ("1,299.00", "must be a number"),
        ("", "must be a number"),
        (SECRET, "must be a number"),
        (None, "needs an amount"),
        (True, "got bool"),
        ([1], "got list"),
    ],
)
def test_an_invalid_amount_is_refused(revenue: Any, words: str):
    error = error_of(revenue=revenue)

    assert error.name == "revenue"
    assert words in str(error)
    assert SECRET not in str(error)


@pytest.mark.parametrize(("value", "stored"), [("eur", "EUR"), (" USD ", "USD")])
def test_currencies_become_upper_case(value: str, stored: str):
    assert Conversion.sale(revenue=1, currency=value).currency == stored


@pytest.mark.parametrize("currency", ["EURO", "E", "12A", "ÄÖÜ", "aß", "ıNR", 978])
def test_an_invalid_currency_code_is_refused(currency: Any):
    assert "three-letter ISO 4217" in str(error_of(currency=currency))


# Times


def test_times_are_kept_in_utc():
    berlin = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))

    stored = Conversion.lead(timestamp=berlin).timestamp

    assert stored == berlin
    assert stored.tzinfo is UTC


def test_the_second_hour_of_a_clock_change_is_another_moment():
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    seconds = [Conversion.lead(timestamp=first.replace(fold=fold)).timestamp for fold in (0, 1)]

    assert seconds[1] - seconds[0] == timedelta(hours=1)


def test_the_default_time_is_now():
    before = datetime.now(UTC)
    assert before <= Conversion.lead().timestamp <= datetime.now(UTC)


class Nanoseconds(datetime):
    """A time as data frames have it: more than a datetime."""

    def isoformat(self, *_: Any) -> str:
        return "2026-01-01T00:00:00.000000001+00:00"


class NotATime(datetime):
    """What data frames have where there is no time."""

    def date(self) -> Any:
        raise ValueError("NaTType does not support date")


def test_times_of_other_libraries_become_plain_datetimes():
    stored = Conversion.lead(timestamp=Nanoseconds(2026, 1, 1, tzinfo=UTC)).timestamp

    assert type(stored) is datetime
    assert stored == datetime(2026, 1, 1, tzinfo=UTC)


class Nowhere(tzinfo):
    def utcoffset(self, _: Any) -> None:
        return None


@pytest.mark.parametrize(
    ("timestamp", "words"),
    [
        (datetime(2026, 1, 1), "needs a time zone"),
        (datetime(2026, 1, 1, tzinfo=Nowhere()), "needs a time zone"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "years 1 to 9999"),
        (NotATime(2026, 1, 1), "is not a time"),
        ("2026-01-01", "must be a datetime, got str"),
        (7, "must be a datetime, got int"),
    ],
)
def test_an_invalid_time_is_refused(timestamp: Any, words: str):
    error = error_of(timestamp=timestamp)

    assert error.name == "timestamp"
    assert words in str(error)


# Text and ids

STRICT = ("order_id", "event_name", "event_id", "id")
VISITOR = ("click_id", "source", "campaign_id", "ad_id", "ip_address", "user_agent", "page_url")
OPTIONAL = ("order_id", "event_name", "id", *VISITOR)
BAD_IDS = [
    "a\x00b",
    "a\nb",
    "\ud800",
    "a\ud800",
    5.5,
    Decimal("0.5"),
    True,
    b"a",
    "x" * 2000,
    10**50,
]


@pytest.mark.parametrize("field", STRICT)
@pytest.mark.parametrize("value", BAD_IDS)
def test_ids_of_the_shop_are_checked(field: str, value: Any):
    error = error_of(**{field: value})

    assert error.name == field
    assert str(error).startswith(f"{field} ")


@pytest.mark.parametrize("value", [" a", "a\n"])
def test_an_event_id_is_never_trimmed(value: Any):
    assert error_of(event_id=value).name == "event_id"


GAPS = [None, "", " \t", math.nan, Decimal("NaN")]


@pytest.mark.parametrize("gap", GAPS)
def test_a_blank_event_id_is_made_from_the_order(gap: Any):
    assert Conversion.sale(revenue=1, order_id="7", event_id=gap).event_id == "sale:7"
    assert UUID(Conversion.lead(event_id=gap).event_id).version == 7


@pytest.mark.parametrize("gap", GAPS)
def test_a_blank_currency_is_the_default_one(gap: Any):
    assert Conversion.sale(revenue=1, currency=gap).currency == "USD"


@pytest.mark.parametrize("gap", GAPS)
def test_a_blank_time_is_now(gap: Any):
    before = datetime.now(UTC)

    assert before <= Conversion.lead(timestamp=gap).timestamp <= datetime.now(UTC)


def test_a_custom_event_needs_a_name():
    with pytest.raises(InvalidConversionError, match="event_name must not be empty"):
        Conversion.custom(" ")


@pytest.mark.parametrize("field", OPTIONAL)
@pytest.mark.parametrize("gap", [None, "", " \t", math.nan, Decimal("NaN"), Decimal("sNaN")])
def test_blank_text_and_gaps_count_as_not_given(field: str, gap: Any):
    assert getattr(Conversion.lead(**{field: gap}), field) is None


@pytest.mark.parametrize("field", ["order_id", "id", "click_id", "campaign_id", "ad_id"])
@pytest.mark.parametrize(
    "number", [1003, 1003.0, Decimal(1003), Decimal("1003.0"), "1003.0", " 1003 ", Fraction(1003)]
)
def test_ids_of_a_table_become_text(field: str, number: Any):
    assert getattr(Conversion.lead(**{field: number}), field) == "1003"


def test_an_order_has_one_event_id_however_its_id_is_written():
    orders: list[Any] = [1003, 1003.0, "1003", "1003.0", Decimal(1003)]

    assert {Conversion.lead(order_id=order).event_id for order in orders} == {"lead:1003"}


def test_uuids_become_text():
    key = UUID(int=7)
    sale = Conversion.sale(revenue=1, order_id=key, event_id=key, click_id=key, product_id=key)

    assert (sale.order_id, sale.event_id, sale.click_id) == (str(key), str(key), str(key))
    assert sale.custom_data == {"product_id": str(key)}


def test_a_gap_is_no_amount_for_all_but_sales():
    for gap in (None, "", "nan", math.nan):
        assert Conversion(conversion_type="lead", revenue=gap).revenue == 0  # type: ignore[arg-type]
    assert Conversion.lead(revenue=math.nan).revenue == Conversion.signup(revenue="").revenue == 0
    assert Conversion.custom("Renewed", revenue=Decimal("NaN")).revenue == 0
    assert error_of(revenue=math.nan).name == "revenue"


@pytest.mark.parametrize(
    "amount",
    [
        "1,299.90",
        "49,90",
        "1.299,90",
        "1,299",
        "1 299,90",
        "49,90 €",
        "$1,299.90",
        "٤٩٫٩٠",
        "49，90",
    ],
)
@pytest.mark.parametrize("field", ["revenue", "price"])
def test_the_error_of_a_comma_tells_how_to_parse_it(field: str, amount: str):
    with pytest.raises(InvalidConversionError) as caught:
        _ = LineItem(id="a", price=amount) if field == "price" else error_of_amount(amount)

    assert str(caught.value).startswith(f"{field} must be a number without a comma")
    assert 'Decimal(text.replace(",", ""))' in str(caught.value)
    assert amount not in str(caught.value).replace("'1,299'", "")


def error_of_amount(amount: str) -> None:
    Conversion.sale(revenue=amount)


# What a visitor controls; see also `test_visitor.py`


@given(st.sampled_from(VISITOR), st.text() | st.from_type(object))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_value_of_a_visitor_raises(field: str, value: Any):
    kept = getattr(Conversion.lead(**{field: value}), field)

    assert kept is None or (kept == kept.strip() != "" and kept.encode().decode() == kept)


@given(st.dictionaries(st.text(), st.text() | st.floats(allow_infinity=False)))
def test_no_text_in_sub_ids_raises(sub_ids: dict[str, Any]):
    for key, text in Conversion.lead(sub_ids=sub_ids).sub_ids.items():
        assert (key + text).encode().decode() == key + text
        assert text.strip()


# Mappings


class Plan(str, Enum):  # noqa: UP042 - as many code bases have it
    PRO = "pro"


def test_custom_data_becomes_what_json_can_hold():
    stored = Conversion.lead(
        custom_data={
            "price": Decimal("9.90"),
            "count": Decimal("3.00"),
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "naive": datetime(2026, 1, 1),
            "day": datetime(2026, 1, 1).date(),
            "pair": (1, None),
            "plan": Plan.PRO,
            Plan.PRO: True,
        }
    ).custom_data

    assert stored == {
        "price": 9.9,
        "count": 3,
        "at": "2026-01-01T00:00:00+00:00",
        "naive": "2026-01-01T00:00:00+00:00",
        "day": "2026-01-01",
        "pair": [1, None],
        "plan": "pro",
        "pro": True,
    }
    assert type(stored["plan"]) is str


class Count:
    """A whole number as numpy has it: no `int`, but registered as one."""

    def __int__(self) -> int:
        return 3


Integral.register(Count)
Flag = type("bool_", (), {"__bool__": lambda _: True})  # of numpy 1
NewFlag = type("bool", (), {"__bool__": lambda _: True})  # of numpy 2


@pytest.mark.parametrize("flag", [Flag(), NewFlag()])
def test_numbers_of_other_libraries_and_uuids_are_those_of_python(flag: Any):
    values = {"a": Count(), "b": Fraction(1, 2), "c": flag, "d": UUID(int=7), "e": [Count()]}
    conversion = Conversion.lead(custom_data=values, sub_ids=dict(list(values.items())[:4]))

    assert conversion.custom_data == {"a": 3, "b": 0.5, "c": True, "d": str(UUID(int=7)), "e": [3]}
    assert conversion.sub_ids == {"a": "3", "b": "0.5", "c": "true", "d": str(UUID(int=7))}
    assert type(conversion.custom_data["a"]) is int


@pytest.mark.parametrize("number", FLOATS, ids=lambda number: type(number).__name__)
def test_floats_become_their_shortest_decimal(number: Any):
    sale = Conversion.sale(
        revenue=number,
        items=[LineItem(id="1", price=number)],
        custom_data={"a": number, "b": [number]},
        sub_ids={"a": number},
        meta={
            "custom_data": {"predicted_ltv": number, "contents": {"item_price": number}},
            "extra": {"a": number},
        },
    )

    assert sale.meta is not None
    standard = sale.meta["custom_data"]
    amounts = (sale.revenue, sale.items[0].price, standard["predicted_ltv"])
    assert [*map(str, amounts), str(standard["contents"][0]["item_price"])] == ["0.1"] * 4
    assert sale.custom_data == {"a": 0.1, "b": [0.1]}
    assert (sale.sub_ids, sale.meta["extra"]) == ({"a": "0.1"}, {"a": 0.1})


@pytest.mark.parametrize("field", ["customer", "items", "meta", "sub_ids", "custom_data"])
@pytest.mark.parametrize(
    "gap", [None, float("nan"), "", type("NAType", (), {})()], ids=["None", "NaN", "blank", "NA"]
)
def test_a_gap_in_a_data_frame_is_no_object(field: str, gap: Any):
    assert not getattr(Conversion.lead(**{field: gap}), field)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": {"b": [1, float("inf")]}}, "custom_data.a.b[1] must be a finite number"),
        ({"a": Decimal("Infinity")}, "custom_data.a must be a finite number"),
        ({"a": Decimal("1E+999999")}, "custom_data.a is out of range"),
        ({"a": 2**63}, "custom_data.a does not fit into 64 bits"),
        ({"a": 10**400}, "custom_data.a does not fit into 64 bits"),
        ({"a": Decimal("1E+30")}, "custom_data.a does not fit into 64 bits"),
        ({"a": {1, 2}}, "custom_data.a cannot be sent as JSON: set"),
        ({"a": b"x"}, "custom_data.a cannot be sent as JSON: bytes"),
        ({"a": {1: 2}}, "custom_data.a must have text keys only"),
        ([("a", 1)], "custom_data must be a mapping, got list"),
        ("a", "custom_data must be a mapping, got str"),
    ],
)
def test_values_that_json_cannot_hold_are_refused_with_their_path(value: Any, words: str):
    assert str(error_of(custom_data=value)).startswith(words)


def test_custom_data_loses_halves_of_surrogate_pairs():
    posted = {"note": "hi\ud83d", "list": ["\udc00x"], "\ud800key": {"a\udfff": 1}}

    assert Conversion.lead(custom_data=posted).custom_data == {
        "note": "hi",
        "list": ["x"],
        "key": {"a": 1},
    }


def test_nan_in_custom_data_becomes_none():
    gaps = {"a": math.nan, "b": [Decimal("NaN")], "c": {"d": Decimal("sNaN")}}

    assert Conversion.lead(custom_data=gaps).custom_data == {
        "a": None,
        "b": [None],
        "c": {"d": None},
    }


def test_a_key_that_may_be_a_customers_is_masked():
    assert str(error_of(custom_data={SECRET: {"a": {1}}})) == (
        "custom_data.….a cannot be sent as JSON: set"
    )


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_custom_data_may_nest_64_levels_deep():
    assert Conversion.lead(custom_data=nested(64)).custom_data == nested(64)


@pytest.mark.parametrize("levels", [65, 900, 100_000])
def test_deeper_data_is_refused_and_does_not_exhaust_the_stack(levels: int):
    assert "is nested deeper than 64 levels" in str(error_of(custom_data=nested(levels)))


def test_data_that_contains_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    assert "is nested deeper" in str(error_of(custom_data={"a": loop}))


def test_sub_ids_are_text():
    sub_ids = {"s1": "a", "s2": 5, "s3": None, "s4": True, "s5": Decimal("1.50"), "s6": 2**70}

    stored = Conversion.lead(sub_ids=sub_ids).sub_ids

    assert stored == {"s1": "a", "s2": "5", "s4": "true", "s5": "1.50", "s6": str(2**70)}


@pytest.mark.parametrize("value", [["a"], {}, float("inf"), object(), {"a": 1}])
def test_a_sub_id_that_is_not_text_is_left_out_and_noted(value: Any):
    lead = Conversion.lead(sub_ids={"s1": value, "s2": "a", "s3": b"b", "s4": "c\x00d\n"})

    assert lead.sub_ids == {"s2": "a", "s3": "b", "s4": "cd"}
    assert lead.weakened == ("unusable sub ids",)


@pytest.mark.parametrize("sub_ids", [{1: "a"}, "s", ["s"], [("s", "a")]])
def test_sub_ids_that_are_no_mapping_of_names_are_refused(sub_ids: Any):
    assert error_of(sub_ids=sub_ids).name == "sub_ids"


def test_none_counts_as_an_empty_mapping():
    lead = Conversion.lead(sub_ids=None, custom_data=None)  # type: ignore[arg-type]
    assert (lead.sub_ids, lead.custom_data) == ({}, {})


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
