"""WooCommerce: orders of the Import Export Suite, with the buyer's address and browser.

WooCommerce's own Analytics → Orders has no e-mail address and is refused. The columns of the
Customer/Order/Coupon Export have the same names and are read, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from anytrack_async.backfilling.mapping import AmountColumns, FileMapping, RowRule
from anytrack_async.models.conversion import LineItem


def _cells(cell: Callable[[str], Any]) -> Iterator[str]:
    """Yield the texts of line items: ``line_items`` has all, ``line_item_1`` and so on have one."""
    if text := cell("line_items"):
        yield from str(text).split(";")
    for number in count(1):
        if (text := cell(f"line_item_{number}")) is None:
            return
        yield str(text)


def _add_items(fields: dict[str, Any], cell: Callable[[str], Any]) -> None:
    """Add the items of ``name:Shirt|product_id:7|sku:S-7|quantity:2|total:39.80``."""
    items = []
    for text in _cells(cell):
        pairs = (part.partition(":") for part in text.split("|"))
        item = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if key := item.get("sku") or item.get("product_id") or item.get("name"):
            quantity = item.get("quantity", "").split(".")[0]
            items.append(
                LineItem(
                    id=key,
                    title=item.get("name"),
                    quantity=int(quantity) if quantity.isdecimal() and int(quantity) else 1,
                )
            )
    if items:
        fields["items"] = items


SUITE = FileMapping(
    name="woocommerce",
    title="WooCommerce: orders of the Import Export Suite",
    page="https://woocommerce.com/document/import-and-export-of-woocommerce-orders/",
    signature=("order_id", "order_total", "order_currency", "billing_email"),
    columns={
        "order_id": "order_id",
        "timestamp": ("paid_date", "date_paid", "order_date", "date"),
        "currency": "order_currency",
        "ip_address": "customer_ip_address",
        "user_agent": "customer_user_agent",
        "customer.email": ("billing_email", "customer_email"),
        "customer.phone": ("billing_phone", "shipping_phone"),
        "customer.first_name": ("billing_first_name", "shipping_first_name"),
        "customer.last_name": ("billing_last_name", "shipping_last_name"),
        "customer.city": ("billing_city", "shipping_city"),
        "customer.state": ("billing_state", "shipping_state"),
        "customer.postal_code": ("billing_postcode", "shipping_postcode"),
        "customer.country": ("billing_country", "shipping_country"),
        "items.id": ("item_sku", "item_product_id", "item_name"),
        "items.title": "item_name",
        "items.quantity": "item_quantity",
        "custom_data.order_number": "order_number",
    },
    amounts={
        "gross": "order_total",
        "net": AmountColumns(plus="order_total", minus="refunded_total"),
        "subtotal": "order_subtotal",
        "refund": "refunded_total",
    },
    amount="gross",
    rules=(
        RowRule(
            columns="status",
            keep=("completed", "processing", "wc-completed", "wc-processing"),
            refund=("refunded", "cancelled", "wc-refunded", "wc-cancelled"),
        ),
    ),
    fold="order_id",
    lift=("customer_note", "order_notes", "meta:*"),
    formats=("iso", "written"),
    day_first=False,
    decimal=".",
    finish=_add_items,
    adds_only=True,
    notes=(
        "Times are in the shop's zone, which the file does not state: `--timezone`.",
        ("Line items are read from `line_items`, `line_item_1`, …, or from a row for each item."),
        "`customer_id` is not used: it is 0 for every guest.",
    ),
)

ANALYTICS = FileMapping(
    name="woocommerce-analytics",
    title="WooCommerce: Analytics → Orders",
    signature=("Date", "Order #", "Status", ("N. Revenue (formatted)", "Net Sales", "Items sold")),
    refusal=(
        "it is WooCommerce's Analytics → Orders, which has no e-mail address and is not usable for "
        "Meta matching; use the export of the Import Export Suite"
    ),
)

PRESETS = (SUITE, ANALYTICS)
