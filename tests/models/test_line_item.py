"""`LineItem`: one line of an order."""

from __future__ import annotations

from decimal import Decimal
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


def test_blank_text_counts_as_not_given():
    item = LineItem(id="a", title="", category=" ", brand="B")

    assert (item.title, item.category, item.brand) == (None, None, "B")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", 5),
        ("id", None),
        ("quantity", 0),
        ("quantity", -1),
        ("quantity", 1.5),
        ("quantity", True),
        ("quantity", 2**31),
        ("quantity", "1"),
        ("price", -1),
        ("price", "free"),
        ("title", 5),
        ("brand", "\ud800"),
        ("category", "x" * 5000),
    ],
)
def test_errors_name_the_field(field: str, value: Any):
    with pytest.raises(InvalidConversionError) as caught:
        LineItem(**{"id": "a", field: value})
    assert caught.value.name == field
