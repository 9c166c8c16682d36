"""`Conversion`: amounts, currencies, times, text and ids, and values of a visitor."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion, LineItem
from tests.models.refusals import SECRET, error_of

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
    assert Conversion.sale(revenue=1, currency="nan").currency == "USD"  # a column as text


@pytest.mark.parametrize("kind", [Enum, StrEnum])
@pytest.mark.parametrize("code", ["EUR", "eur"])
def test_a_currency_of_an_enumeration_is_kept_as_text(kind: Any, code: str):
    currency = Conversion.sale(revenue=1, currency=kind("Money", {"EURO": code}).EURO).currency

    assert (currency, type(currency)) == ("EUR", str)


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
