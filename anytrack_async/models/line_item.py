"""`LineItem`: one line of an order."""

from __future__ import annotations

from decimal import Decimal

import attrs

from anytrack_async.models.identifiers import Identifier, cut_text, table_id
from anytrack_async.models.missing import is_missing_number
from anytrack_async.models.validators import Amount, amount, whole_number


def _price(value: Amount | None) -> Decimal | None:
    return None if value is None or is_missing_number(value) else amount("price", value)


def _quantity(value: Amount | None) -> int:
    if type(value) is not int and is_missing_number(value):
        return 1
    return whole_number("quantity", value, lowest=1, limit=2**31)


# attrs takes the type of an argument from a named function only, so each field has its own.


def _item_id(value: Identifier) -> str:
    return table_id("id", value)


def _title(value: Identifier | None) -> str | None:
    return None if value is None else cut_text("title", value)


def _category(value: Identifier | None) -> str | None:
    return None if value is None else cut_text("category", value)


def _brand(value: Identifier | None) -> str | None:
    return None if value is None else cut_text("brand", value)


@attrs.frozen(kw_only=True)
class LineItem:
    """One line of an order.

    Blank text and NaN in an optional field count as not given. Names of more than 4,096 characters
    are cut, and lose halves of surrogate pairs.

    Attributes:
        id: the product's id or SKU; an integer or a UUID becomes text.
        quantity: how many, at least 1; 2.0 and ``"2"`` become 2.
        price: of one, in the conversion's currency, major units.
        title: the product's name.
        category: the product's category.
        brand: the product's brand.

    Raises:
        InvalidConversionError: a field has a wrong value; the message names the field.
    """

    id: str = attrs.field(converter=_item_id)
    quantity: int = attrs.field(default=1, converter=_quantity)
    price: Decimal | None = attrs.field(default=None, converter=_price)
    title: str | None = attrs.field(default=None, converter=_title)
    category: str | None = attrs.field(default=None, converter=_category)
    brand: str | None = attrs.field(default=None, converter=_brand)
