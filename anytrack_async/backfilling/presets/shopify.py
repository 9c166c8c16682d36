"""Shopify: Orders → Export, ``orders_export.csv``.

An order has a row for each line item: all rows repeat `Name`, and only the first has the rest.
Columns come and go with the shop and the year. Themes store click ids in `Note Attributes`.
"""

from __future__ import annotations

from anytrack_async.backfilling.mapping import AmountColumns, FileMapping, RowRule

ORDERS = FileMapping(
    name="shopify",
    title="Shopify: Orders → Export",
    page="https://help.shopify.com/en/manual/fulfillment/managing-orders/exporting-orders",
    signature=("Name", "Financial Status", "Lineitem quantity", "Paid at"),
    columns={
        "order_id": ("Id", "Name"),
        "timestamp": ("Paid at", "Created at"),
        "currency": "Currency",
        "customer.email": "Email",
        "customer.phone": ("Phone", "Billing Phone", "Shipping Phone"),
        "customer.name": ("Billing Name", "Shipping Name"),
        "customer.city": ("Billing City", "Shipping City"),
        "customer.state": ("Billing Province", "Shipping Province"),
        "customer.postal_code": ("Billing Zip", "Shipping Zip"),
        "customer.country": ("Billing Country", "Shipping Country"),
        "items.id": ("Lineitem sku", "Lineitem name"),
        "items.title": "Lineitem name",
        "items.quantity": "Lineitem quantity",
        "items.price": "Lineitem price",
        "items.brand": "Vendor",
        "custom_data.coupon": "Discount Code",
    },
    amounts={
        "gross": "Total",
        "net": AmountColumns(plus="Total", minus="Refunded Amount"),
        "subtotal": "Subtotal",
        "refund": "Refunded Amount",
    },
    amount="gross",
    rules=(
        RowRule(
            columns="Financial Status",
            keep=("paid", "partially_refunded"),
            refund=("refunded", "voided"),
        ),
    ),
    fold="Name",
    lift=("Note Attributes", "Notes"),
    decimal=".",
    notes=(
        (
            "An order has a row for each line item; consecutive rows with the same `Name` "
            "are one conversion."
        ),
        "Zip codes and phone numbers lose the apostrophe before them.",
    ),
)

PRODUCTS = FileMapping(
    name="shopify-products",
    title="Shopify: Products → Export",
    signature=("Handle", "Title", "Vendor", ("Variant SKU", "Variant Price", "Variant Grams")),
    refusal="it is Shopify's export of products, which has no orders; use Orders → Export",
)

CUSTOMERS = FileMapping(
    name="shopify-customers",
    title="Shopify: Customers → Export",
    signature=("First Name", "Last Name", "Email", "Total Spent", "Total Orders"),
    refusal=(
        "it is Shopify's export of customers, which has sums but no single orders; use "
        "Orders → Export"
    ),
)

PAYOUTS = FileMapping(
    name="shopify-payouts",
    title="Shopify: Finances → Payouts → Export transactions",
    signature=("Transaction Date", "Type", "Order", "Payout Status"),
    refusal=(
        "it is Shopify's export of payout transactions, which name no customer; use Orders → Export"
    ),
)

PRESETS = (ORDERS, PRODUCTS, CUSTOMERS, PAYOUTS)
