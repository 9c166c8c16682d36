"""What was done and what it is worth, in Meta's words: `custom_data`.

Source: Meta: Conversions API, custom data parameters.
"""

from __future__ import annotations

from typing import Any

from anytrack_async.destinations.meta.fields import wire_form
from anytrack_async.models.conversion import Conversion, LineItem

# The event has its own place, and `value` and `currency` are the conversion's alone.
_PLACED = frozenset(("event_id", "product_id", "value", "currency"))


def custom_data(conversion: Conversion, event_name: str) -> dict[str, Any]:
    """Return what was done: the caller's own fields, overridden by what the conversion says.

    A revenue of 0 is a value for a purchase; for anything else it says that there is none.
    ``content_type`` is left out unless given: without it Meta matches products and groups alike.
    """
    own = conversion.custom_data
    data = {k: v for k, v in own.items() if v is not None and k not in _PLACED} if own else {}
    if conversion.revenue or event_name == "Purchase":
        data["value"] = float(conversion.revenue)
        data["currency"] = conversion.currency
    if conversion.order_id is not None:
        data["order_id"] = conversion.order_id
    if conversion.items:
        data |= _contents(conversion.items)
    elif own and isinstance(product := own.get("product_id"), str | int) and product != "":
        data.setdefault("content_ids", [str(product)])
    if conversion.meta is not None and (standard := conversion.meta.get("custom_data")):
        data |= wire_form(standard)
    return data


def _contents(items: tuple[LineItem, ...]) -> dict[str, Any]:
    return {
        "contents": [_content(item) for item in items],
        "content_ids": list(dict.fromkeys(item.id for item in items)),
        "num_items": sum(item.quantity for item in items),
    }


def _content(item: LineItem) -> dict[str, Any]:
    content: dict[str, Any] = {"id": item.id, "quantity": item.quantity}
    if item.price is not None:
        content["item_price"] = float(item.price)
    for name in ("title", "category", "brand"):
        if (value := getattr(item, name)) is not None:
            content[name] = value
    return content
