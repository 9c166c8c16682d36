"""Everflow: export of conversions. Its columns are those of the API's reporting."""

from __future__ import annotations

from anytrack_async.backfilling.mapping import FileMapping, RowRule

CONVERSIONS = FileMapping(
    name="everflow",
    title="Everflow: Reporting → Conversions, export",
    page="https://developers.everflow.io/api-reference/post-networksreportingconversionsexport",
    signature=("conversion_id", "transaction_id", "payout", "revenue"),
    columns={
        "order_id": ("order_id", "conversion_id"),
        "timestamp": "conversion_unix_timestamp",
        "currency": "currency_id",
        "click_id": "sub1",
        "customer.email": "email",
        "customer.city": "city",
        "customer.state": "region",
        "customer.country": "country",
        "ip_address": ("session_user_ip", "conversion_user_ip"),
        "user_agent": "http_user_agent",
        "page_url": "url",
        "source": "source_id",
        "custom_data.coupon": "coupon_code",
        "custom_data.conversion_id": "conversion_id",
        "custom_data.transaction_id": "transaction_id",
        "custom_data.event": "event",
    },
    amounts={"sale_amount": "sale_amount", "revenue": "revenue", "payout": "payout"},
    amount=("sale_amount", "revenue"),
    rules=(
        RowRule(
            columns="is_scrub", drop=("true", "1", "yes"), reason="scrubbed by Everflow", blank=True
        ),
        RowRule(columns="status", keep=("approved",), blank=True),
    ),
    rest={"sub[1-5]": "sub_ids", "adv[1-5]": "sub_ids"},
    lift=("sub[1-5]", "adv[1-5]", "url", "referer"),
    formats=("unix", "iso"),
    timezone="UTC",
    decimal=".",
    notes=(
        (
            "`sub1` is the click id, as AnyTrack's links for Everflow have it; "
            "`transaction_id` is Everflow's own and goes into the custom data."
        ),
        (
            "`--amount` chooses `sale_amount`, `revenue` or `payout`; by default the sale "
            "amount, and the revenue where there is none."
        ),
    ),
)

IMPORT = FileMapping(
    name="everflow-import",
    title="Everflow: file for importing conversions",
    signature=("transaction_id", "event_id", "payout", "revenue"),
    absent=("conversion_id",),
    refusal=(
        "it is a file for uploading conversions to Everflow, which has no ids of conversions; use "
        "the export of Reporting → Conversions"
    ),
)

PRESETS = (CONVERSIONS, IMPORT)
