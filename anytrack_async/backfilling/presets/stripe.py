"""Stripe: Payments → Export.

The user ticks the columns, so that no two files are alike. Amounts are in major units, times in
UTC. The metadata of a payment are columns such as ``order_id (metadata)``.
"""

from __future__ import annotations

from anytrack_async.backfilling.mapping import AmountColumns, FileMapping, RowRule

PRESET = FileMapping(
    name="stripe",
    title="Stripe: Payments → Export",
    page="https://docs.stripe.com/reports/export",
    signature=("id", ("Created date (UTC)", "Created (UTC)"), "Amount", "Status"),
    columns={
        "order_id": ("order_id (metadata)", "id"),
        "timestamp": ("Created date (UTC)", "Created (UTC)"),
        "currency": "Currency",
        "customer.email": ("Customer Email", "email (metadata)"),
        "customer.name": ("Card Name", "Name (metadata)"),
        "customer.external_id": "Customer ID",
        "custom_data.description": "Description",
    },
    amounts={
        "gross": "Amount",
        "net": AmountColumns(plus="Amount", minus="Amount Refunded"),
        "refund": "Amount Refunded",
    },
    amount="gross",
    rules=(
        RowRule(
            columns="Mode",
            keep=("live",),
            reason="made in Stripe's test mode",
            unless="test",
            blank=True,
        ),
        RowRule(columns="Status", keep=("paid", "succeeded"), refund=("refunded",)),
        RowRule(columns="Captured", drop=("false", "no"), reason="not captured", blank=True),
    ),
    lift=("* (metadata)",),
    rest={"* (metadata)": "custom_data"},
    formats=("iso",),
    timezone="UTC",
    decimal=".",
)

PAYOUTS = FileMapping(
    name="stripe-payouts",
    title="Stripe: Payouts → Export",
    signature=("id", "Amount", "Created (UTC)", "Arrival Date (UTC)"),
    refusal=(
        "it is Stripe's export of payouts, which sum up payments and name no customer; use "
        "Payments → Export"
    ),
)

PRESETS = (PRESET, PAYOUTS)
