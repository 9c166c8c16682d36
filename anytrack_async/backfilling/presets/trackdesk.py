"""Trackdesk: file of conversions, for its import or from its conversion report."""

from __future__ import annotations

from anytrack_async.backfilling.mapping import FileMapping, RowRule
from anytrack_async.backfilling.vocabulary import add_type

PRESET = FileMapping(
    name="trackdesk",
    title="Trackdesk: conversions",
    page="https://help.trackdesk.com/en/articles/8862593-mass-conversion-actions",
    signature=(("External CID", "CID"), "Conversion type", ("Amount", "Conversion status")),
    columns={
        "conversion_type": "Conversion type",
        "order_id": "External ID",
        "timestamp": ("Created at", "Created", "Conversion date", "Date"),
        "currency": "Currency",
        "click_id": ("External CID", "CID"),
        "customer.external_id": "Customer ID",
        "customer.email": "Customer email",
    },
    amounts="Amount",
    rules=(
        RowRule(
            columns=("Conversion status", "Status"),
            keep=("approved", "conversion_status_approved", "paid"),
            refund=("refunded", "conversion_status_refunded"),
            blank=True,
        ),
    ),
    rest={"Adv S[1-5]": "sub_ids"},
    formats=("iso", "written"),
    decimal=".",
    finish=add_type,
    notes=(
        (
            "The column `Created at` is optional. Without it, state the time of all rows: "
            "`--timestamp`."
        ),
        (
            "A `Conversion type` that names neither a sale nor a lead nor a sign-up is a "
            "custom event of that name."
        ),
    ),
)
