"""Stripe: Payments → Export.

The user ticks the columns, so that no two files are alike. Amounts are in major units, times in
UTC. The metadata of a payment are columns such as ``order_id (metadata)``.
"""

from __future__ import annotations

from anytrack_async.backfilling.mapping import AmountColumns, FileMapping, RowRule

PAYMENTS = FileMapping(
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
    notes=(
        (
            "`--only-first` leaves out renewals: later payments of the same `Customer ID` "
            "or e-mail address."
        ),
        ("A partly refunded payment is still `Paid`; `--amount net` subtracts `Amount Refunded`."),
    ),
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

BALANCE = FileMapping(
    name="stripe-balance",
    title="Stripe: balance transactions",
    signature=(("balance_transaction_id", "Available On (UTC)"), ("reporting_category", "Type")),
    refusal=(
        "it is Stripe's report of balance transactions, which mixes payments with fees and payouts "
        "and names no customer; use Payments → Export"
    ),
)

SUBSCRIPTIONS = FileMapping(
    name="stripe-subscriptions",
    title="Stripe: Subscriptions → Export",
    signature=("id", "Customer ID", "Interval", ("Current Period Start (UTC)", "Start (UTC)")),
    refusal=(
        "it is Stripe's export of subscriptions, which has no payments; use Payments → Export"
    ),
)

INVOICES = FileMapping(
    name="stripe-invoices",
    title="Stripe: Invoices → Export",
    signature=("id", "Amount Due", "Amount Paid"),
    refusal="it is Stripe's export of invoices, not of payments; use Payments → Export",
)

PRESETS = (PAYMENTS, PAYOUTS, BALANCE, SUBSCRIPTIONS, INVOICES)
