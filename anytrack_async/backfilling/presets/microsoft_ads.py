"""Microsoft Advertising: the template for importing offline conversions."""

from __future__ import annotations

from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.vocabulary import add_type

PRESET = FileMapping(
    name="microsoft-ads",
    title="Microsoft Advertising: template for importing offline conversions",
    page="https://help.ads.microsoft.com/#apex/ads/en/56852/2",
    signature=(
        ("Microsoft Click ID", "Hashed Email Address", "Hashed Phone Number"),
        "Conversion Name",
        "Conversion Time",
    ),
    columns={
        "conversion_type": "Conversion Name",
        "order_id": ("Order ID", "Transaction ID"),
        "timestamp": "Conversion Time",
        "currency": ("Conversion Currency", "Conversion Currency Code"),
        "customer.email": "Hashed Email Address",
        "customer.phone": "Hashed Phone Number",
        "clicks.msclkid": "Microsoft Click ID",
        "custom_data.conversion_name": "Conversion Name",
    },
    amounts="Conversion Value",
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
        "E-mail addresses and phone numbers are SHA-256 hashes.",
    ),
)
