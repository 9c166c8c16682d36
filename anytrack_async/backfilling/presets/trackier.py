"""Trackier: file of conversions."""

from __future__ import annotations

from anytrack_async.backfilling.mapping import FileMapping, RowRule

PRESET = FileMapping(
    name="trackier",
    title="Trackier: conversions",
    page=(
        "https://help.trackier.com/support/solutions/articles/"
        "31000155002-how-to-bulk-upload-conversion-data-"
    ),
    signature=("Conversion_ID", "Click_id", "txn_id"),
    columns={
        "order_id": ("txn_id", "Conversion_ID"),
        "timestamp": ("Created_Date", "created"),
        "currency": ("Currency", "payout_currency"),
        "click_id": "Click_id",
        "campaign_id": "Campaign_ID",
        "source": "Source",
        "ip_address": "ipaddr",
        "page_url": "referer",
        "customer.city": "City",
        "customer.country": "Geo",
        "custom_data.goal": "goal_value",
        "custom_data.conversion_id": "Conversion_ID",
        "custom_data.publisher_id": "Publisher_ID",
        "custom_data.gaid": "Gaid",
        "custom_data.idfa": "Idfa",
    },
    amounts={"sale_amount": "sale_amount", "revenue": "Revenue", "payout": "Payout"},
    amount=("sale_amount", "revenue"),
    rules=(
        RowRule(columns="Status", keep=("approved",), refund=("cancelled", "canceled"), blank=True),
    ),
    rest={"sub[0-9]": "sub_ids", "sub10": "sub_ids", "p[0-9]": "sub_ids", "p10": "sub_ids"},
    lift=("Note",),
    formats=("iso", "written"),
    decimal=".",
    notes=(
        "Times are in the account's zone, which the file does not state: `--timezone`.",
        ("`--amount` chooses; by default the sale amount, and the revenue where there is none."),
    ),
)
