"""`Customer`: one value or several of each, raw, and never shown."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.customer import Customer
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
    with pytest.raises(InvalidConversionError, match=f"{field} must be text, got list"):
        Customer(**{field: ["a", "b"]})


@pytest.mark.parametrize("field", [*LISTS, *SINGLES])
@pytest.mark.parametrize("value", [b"a", 1.5, True, {"a": "b"}, object()], ids=repr)
def test_values_other_than_text_are_refused_and_not_quoted(field: str, value: Any):
    with pytest.raises(InvalidConversionError, match=f"^{field} must be text, got ") as caught:
        Customer(**{field: value})
    assert caught.value.name == field


@pytest.mark.parametrize("field", [*LISTS, *SINGLES])
def test_text_that_utf_8_cannot_encode_is_refused(field: str):
    with pytest.raises(InvalidConversionError, match=f"^{field} contains an unpaired surrogate"):
        Customer(**{field: "jane\ud800"})


def test_the_repr_shows_the_names_of_fields_that_are_set():
    customer = Customer(email="jane@example.com", city=["Berlin"], fbp="fb.1.2.3")

    assert repr(customer) == "Customer(email=…, city=…, fbp=…)"
    assert repr(Customer()) == "Customer()"


@given(customers)
def test_blank_values_are_never_kept(customer: Customer):
    values = [item for field in LISTS for item in getattr(customer, field)]
    values += [item for field in SINGLES if (item := getattr(customer, field)) is not None]

    assert all(isinstance(item, str) and item.strip() for item in values)
