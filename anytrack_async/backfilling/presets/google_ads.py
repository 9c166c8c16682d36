"""Google Ads: the template for importing offline conversions, by click id or by e-mail address."""

from __future__ import annotations

from anytrack_async.backfilling.mapping import FileMapping, RowRule
from anytrack_async.backfilling.vocabulary import add_type

IMPORT = FileMapping(
    name="google-ads",
    title="Google Ads: template for importing conversions",
    page="https://support.google.com/google-ads/answer/7014069",
    signature=(
        ("Google Click ID", "GCLID", "GBRAID", "WBRAID", "Email", "Phone Number"),
        "Conversion Name",
        "Conversion Time",
    ),
    absent=("Microsoft Click ID",),
    columns={
        "conversion_type": "Conversion Name",
        "order_id": ("Order ID", "Transaction ID"),
        "timestamp": "Conversion Time",
        "currency": "Conversion Currency",
        "customer.email": "Email",
        "customer.phone": "Phone Number",
        "customer.first_name": "First Name",
        "customer.last_name": "Last Name",
        "customer.postal_code": ("Zip", "Postal Code"),
        "customer.country": "Country",
        "clicks.gclid": ("Google Click ID", "GCLID"),
        "clicks.gbraid": "GBRAID",
        "clicks.wbraid": "WBRAID",
        "custom_data.conversion_name": "Conversion Name",
    },
    amounts="Conversion Value",
    rules=(
        RowRule(
            columns="Ad User Data",
            drop=("denied",),
            reason="no consent (Ad User Data: denied)",
            blank=True,
        ),
    ),
    formats=("iso", "written"),
    day_first=False,
    decimal=".",
    finish=add_type,
    notes=(
        ("A line `Parameters:TimeZone=…` above the header is the zone of times that state none."),
        (
            "The type is that of a word in `Conversion Name`: purchase, sale and order are "
            "sales; lead and sign-up are theirs; another name is a custom event of that "
            "name."
        ),
        "E-mail addresses and phone numbers may be SHA-256 hashes.",
    ),
)

ADJUSTMENTS = FileMapping(
    name="ads-adjustments",
    title="Google Ads and Microsoft Advertising: adjustments of conversions",
    signature=("Conversion Name", "Adjustment Time", "Adjustment Type"),
    refusal=(
        "it is a file of adjustments, which change conversions that were uploaded before; use the "
        "file of conversions"
    ),
)

PRESETS = (IMPORT, ADJUSTMENTS)
