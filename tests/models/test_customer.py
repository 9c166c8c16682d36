"""`Customer`: one value or several of each, raw, and never shown."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.models.customer import UNUSABLE, Customer
from tests.models.strategies import Column, customers

LISTS = [field.name for field in attrs.fields(Customer) if field.default == ()]
SINGLES = ["fbc", "fbp", "fbclid"]


def test_every_identifier_is_a_field():
    assert [*LISTS, *SINGLES] == [field.name for field in attrs.fields(Customer)]
    assert len(LISTS) == 11


@pytest.mark.parametrize("field", LISTS)
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a", ("a",)),
        (["a", "b", "a"], ("a", "b", "a")),
        (("b", "a"), ("b", "a")),
        (None, ()),
        ("", ()),
        ([" ", None, "a", ""], ("a",)),
        ([], ()),
        (" A ", (" A ",)),
    ],
    ids=str,
)
def test_one_value_or_several(field: str, value: Any, kept: tuple[str, ...]):
    if field == "email":  # which loses the whitespace around it, also in a list
        kept = tuple(address.strip() for address in kept)
    assert getattr(Customer(**{field: value}), field) == kept


def test_any_iterable_is_accepted():
    assert Customer(email=(item for item in "ab")).email == ("a", "b")
    assert Customer(email={"a": 1}.keys()).email == ("a",)
    assert Customer(email=Column(["a", " "])).email == ("a",)


def test_a_set_has_the_same_order_in_each_process():
    assert Customer(email={"c", "a", "b"}).email == ("a", "b", "c")


def test_dates_and_numbers_become_text():
    assert Customer(birth_date=date(1990, 2, 3)).birth_date == ("1990-02-03",)
    assert Customer(birth_date=datetime(1990, 2, 3, 4, tzinfo=UTC)).birth_date == ("1990-02-03",)
    assert Customer(phone=4915112345678).phone == ("4915112345678",)
    assert Customer(external_id=[7, "x"]).external_id == ("7", "x")


@pytest.mark.parametrize("field", SINGLES)
def test_click_ids_are_single(field: str):
    assert getattr(Customer(**{field: "fb.1.2.AbC"}), field) == "fb.1.2.AbC"
    assert getattr(Customer(**{field: " "}), field) is None
    assert getattr(Customer(**{field: ["a", "b"]}), field) is None


@pytest.mark.parametrize("field", LISTS)
@pytest.mark.parametrize("value", [1.5, 2.0**53, math.inf, True, {"a": "b"}, object(), ["a", []]])
def test_other_values_than_text_are_left_out_and_noted(field: str, value: Any):
    customer = Customer(**{field: value})

    assert getattr(customer, field) == (("a",) if isinstance(value, list) else ())
    assert customer.weakened == (UNUSABLE[field],)


@pytest.mark.parametrize("field", LISTS)
def test_text_in_bytes_and_enumerations_is_text(field: str):
    member = Enum("Answer", {"A": "abc"}).A  # type: ignore[attr-defined]

    for value in (b"abc", bytearray(b"abc"), member, [b"abc"], [member]):
        assert getattr(Customer(**{field: value}), field) == ("abc",)


class PhoneNumber:
    """As Django's extensions have phone numbers and countries."""

    def __str__(self) -> str:
        return "+491701234567"


@pytest.mark.parametrize("field", LISTS)
def test_an_object_that_stands_for_text_is_that_text(field: str):
    django = pytest.importorskip("django.utils.functional")

    for value in (django.SimpleLazyObject(lambda: "abc"), django.lazystr("abc")):
        assert getattr(Customer(**{field: value}), field) == ("abc",)
    assert getattr(Customer(**{field: [PhoneNumber()]}), field) == ("+491701234567",)


def test_a_day_of_numpy_is_a_birth_date():
    day = type("datetime64", (), {"__str__": lambda _: "1990-02-03"})()

    assert Customer(birth_date=day).birth_date == ("1990-02-03",)


class ArrayWithoutDimensions:
    """As numpy has them, and its masked values: iterable, but not to be iterated."""

    shape = ()

    def __iter__(self) -> Any:
        raise TypeError("iteration over a 0-d array")


@pytest.mark.parametrize("field", LISTS)
def test_an_array_without_dimensions_is_one_value(field: str):
    customer = Customer(**{field: ArrayWithoutDimensions()})

    assert (getattr(customer, field), customer.weakened) == ((), (UNUSABLE[field],))


@given(st.sampled_from(LISTS), st.from_type(object))
def test_no_value_that_is_posted_raises(field: str, value: Any):
    assert all(type(text) is str for text in getattr(Customer(**{field: value}), field))


@pytest.mark.parametrize("field", [*LISTS, *SINGLES])
def test_text_that_utf_8_cannot_encode_is_left_out(field: str):
    assert not getattr(Customer(**{field: "jane\ud800"}), field)


@given(st.sampled_from([*LISTS, *SINGLES]), st.text() | st.lists(st.text()))
def test_no_text_that_a_visitor_enters_raises(field: str, value: Any):
    for text in getattr(Customer(**{field: value}), field) or ():
        text.encode()


@given(st.sampled_from(SINGLES), st.from_type(object))
def test_no_value_of_a_cookie_or_click_id_raises(field: str, value: Any):
    kept = getattr(Customer(**{field: value}), field)

    assert kept is None or (kept.strip() and len(kept.encode()) <= 4 * 4096)


class NotATime(datetime):
    def date(self) -> Any:
        raise ValueError("NaTType does not support date")


GAPS = [math.nan, Decimal("NaN"), Decimal("sNaN"), NotATime(2026, 1, 1), type("NAType", (), {})()]


@pytest.mark.parametrize("field", [*LISTS, *SINGLES])
@pytest.mark.parametrize("gap", GAPS)
def test_a_gap_in_a_table_counts_as_not_given(field: str, gap: Any):
    if isinstance(gap, datetime) and field != "birth_date":
        return
    assert Customer(**{field: gap}) == Customer()


@pytest.mark.parametrize("field", ["phone", "postal_code", "external_id"])
@pytest.mark.parametrize(
    "number",
    ["94035.0", 94035.0, 94035, Decimal("94035.0"), ["", "94035.0"], "94035.0 ", "\ufeff94035.0"],
)
def test_numbers_of_a_spreadsheet_lose_their_decimal_zero(field: str, number: Any):
    assert getattr(Customer(**{field: number}), field) == ("94035",)


def test_ids_may_be_uuids():
    assert Customer(external_id=UUID(int=7)).external_id == (str(UUID(int=7)),)


@pytest.mark.parametrize("field", ["phone", "postal_code"])
@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("+491701234567.0", "+491701234567"),
        ("491701234567.00", "491701234567"),
        (" 491701234567,0 ", "491701234567"),
        ("\u202a491701234567.0\u202c", "491701234567"),
        ("４９１７０１２３４５６７．０", "491701234567"),
        ("0170.1234567", "0170.1234567"),
        ("030/1234.567", "030/1234.567"),
    ],
)
def test_decimals_of_a_number_are_no_digits_of_it(field: str, number: str, kept: str):
    assert getattr(Customer(**{field: number}), field) == (kept,)


@pytest.mark.parametrize(
    "cut",
    [
        *(
            "4.91E+11",
            "+4.91E+11",
            "4,91701E+11",
            "4.91701e+16",
            " 5E+10 ",
            "\u200e4.917012345E+11",
        ),
        *("4.917012345E 11", "4.917012345 E+11", "4.917012345E+11.0", "nan", "#REF!"),
    ],
)
def test_a_number_that_a_spreadsheet_cut_is_no_phone(cut: str):
    assert Customer(phone=[cut, "+49 170 1234567"]).phone == ("+49 170 1234567",)
    assert Customer(phone="+49 170 1234567 ext 5").phone == ("+49 170 1234567 ext 5",)


def test_the_repr_shows_the_names_of_fields_that_are_set():
    customer = Customer(email="jane@example.com", city=["Berlin"], fbp="fb.1.2.3")

    assert repr(customer) == "Customer(email=…, city=…, fbp=…)"
    assert repr(Customer()) == "Customer()"


@given(customers)
def test_blank_values_are_never_kept(customer: Customer):
    values = [item for field in LISTS for item in getattr(customer, field)]
    values += [item for field in SINGLES if (item := getattr(customer, field)) is not None]

    assert all(isinstance(item, str) and item.strip() for item in values)
