"""`LineItem`: one line of an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.validators import Amount, amount, identifier, not_blank, text_or_none

_TEXT = text_or_none()


def _price(value: Amount | None) -> Decimal | None:
    return None if value is None else amount("price", value)


def _quantity(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise InvalidConversionError(field.name, "must be a whole number of at least 1")


@attrs.frozen(kw_only=True)
class LineItem:
    """One line of an order.

    Attributes:
        id: the product's id or SKU.
        quantity: how many, at least 1.
        price: of one, in the conversion's currency, major units.
        title: what the product is called.
        category: the product's category.
        brand: the product's brand.

    Raises:
        InvalidConversionError: a field is not valid; the message names it.
    """

    id: str = attrs.field(validator=identifier())
    quantity: int = attrs.field(default=1, validator=_quantity)
    price: Decimal | None = attrs.field(default=None, converter=_price)
    title: str | None = attrs.field(default=None, converter=not_blank, validator=_TEXT)
    category: str | None = attrs.field(default=None, converter=not_blank, validator=_TEXT)
    brand: str | None = attrs.field(default=None, converter=not_blank, validator=_TEXT)
