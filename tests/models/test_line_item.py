"""`LineItem`: one line of an order."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import LineItem


def test_only_the_id_is_needed():
    item = LineItem(id="sku-1")

    assert (item.quantity, item.price, item.title) == (1, None, None)


def test_prices_keep_every_digit():
    assert str(LineItem(id="a", price="9.90").price) == "9.90"
    assert LineItem(id="a", price=0).price == Decimal(0)


@pytest.mark.parametrize("number", [93, 93.0, Decimal(93), Decimal("93.0"), "93.0", " 93 "])
def test_ids_of_a_table_become_text(number: Any):
    assert LineItem(id=number).id == "93"


@pytest.mark.parametrize("two", [2, 2.0, Decimal(2), Decimal("2.00"), "2", "2.0", Fraction(2)])
def test_whole_quantities_become_integers(two: Any):
    quantity = LineItem(id="a", quantity=two).quantity

    assert (quantity, type(quantity)) == (2, int)


@pytest.mark.parametrize("gap", [None, "", " ", math.nan, Decimal("NaN"), Decimal("sNaN")])
def test_a_gap_in_a_table_counts_as_not_given(gap: Any):
    item = LineItem(id="a", quantity=gap, price=gap, title=gap, category=gap, brand=gap)

    assert item == LineItem(id="a")


def test_a_title_may_be_a_number():
    assert LineItem(id="a", title=1984).title == "1984"  # type: ignore[arg-type]


def test_a_title_may_be_a_lazy_translation():
    lazystr = pytest.importorskip("django.utils.functional").lazystr

    assert LineItem(id="a", title=lazystr("Schuhe")).title == "Schuhe"


def test_blank_text_counts_as_not_given():
    item = LineItem(id="a", title="", category=" ", brand="B")

    assert (item.title, item.category, item.brand) == (None, None, "B")


@pytest.mark.parametrize("field", ["title", "category", "brand"])
def test_names_are_cut_and_lose_half_of_an_emoji(field: str):
    assert getattr(LineItem(id="a", **{field: "Rocket \ud83d"}), field) == "Rocket "
    assert getattr(LineItem(id="a", **{field: "é" * 5_000}), field) == "é" * 4_096
    assert getattr(LineItem(id="a", **{field: "\ud83d"}), field) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", True),
        ("id", 9.3),
        ("id", Decimal("9.3")),
        ("id", float("nan")),
        ("id", None),
        ("quantity", 0),
        ("quantity", -1),
        ("quantity", 1.5),
        ("quantity", True),
        ("quantity", 2**31),
        ("quantity", "one"),
        ("quantity", Decimal("1E+999999999")),
        ("quantity", float("inf")),
        ("price", -1),
        ("price", "free"),
        ("title", 5.5),
        ("title", [5]),
    ],
)
def test_errors_name_the_field(field: str, value: Any):
    with pytest.raises(InvalidConversionError) as caught:
        LineItem(**{"id": "a", field: value})
    assert caught.value.name == field
