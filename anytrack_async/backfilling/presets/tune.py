"""TUNE (HasOffers): Conversion Report, as its export or with the names of the API."""

from __future__ import annotations

from anytrack_async.backfilling.mapping import FileMapping, RowRule, either

REPORT = FileMapping(
    name="tune",
    title="TUNE: Reports → Conversion Report, export",
    page="https://support.tune.com/hc/en-us/articles/1500005163401",
    signature=(
        ("Tune Event ID", "Stat.tune_event_id"),
        ("Transaction ID", "Stat.ad_id", "Stat.transaction_id"),
        ("Date / Time", "Stat.datetime"),
    ),
    columns={
        "order_id": ("Tune Event ID", "Stat.tune_event_id"),
        "timestamp": ("Date / Time", "Stat.datetime"),
        "currency": ("Currency", "Stat.currency"),
        "click_id": ("Partner Sub ID 1", "Affiliate Sub ID 1", "Stat.affiliate_info1"),
        "ip_address": ("Conversion IP", "Session IP", "Stat.ip"),
        "user_agent": ("User Agent", "Stat.user_agent"),
        "page_url": ("Conversion URL", "Stat.pixel_refer"),
        "source": ("Source", "Stat.source"),
        "sub_ids.sub1": ("Partner Sub ID 1", "Affiliate Sub ID 1", "Stat.affiliate_info1"),
        "sub_ids.sub2": ("Partner Sub ID 2", "Affiliate Sub ID 2", "Stat.affiliate_info2"),
        "sub_ids.sub3": ("Partner Sub ID 3", "Affiliate Sub ID 3", "Stat.affiliate_info3"),
        "sub_ids.sub4": ("Partner Sub ID 4", "Affiliate Sub ID 4", "Stat.affiliate_info4"),
        "sub_ids.sub5": ("Partner Sub ID 5", "Affiliate Sub ID 5", "Stat.affiliate_info5"),
        "custom_data.transaction_id": ("Transaction ID", "Stat.ad_id", "Stat.transaction_id"),
        "custom_data.offer": ("Offer", "Offer.name"),
        "custom_data.partner": ("Partner", "Affiliate.company"),
        "custom_data.advertiser_sub_id": ("Advertiser Sub ID 1", "Stat.advertiser_info"),
    },
    amounts={
        "sale_amount": either("Sale Amount", "Stat.sale_amount"),
        "revenue": either("Revenue", "Stat.revenue"),
        "payout": either("Payout", "Stat.payout"),
    },
    amount=("sale_amount", "revenue"),
    rules=(RowRule(columns=("Status", "Stat.status"), keep=("approved",), blank=True),),
    formats=("iso", "written"),
    decimal=".",
    notes=(
        (
            "`Partner Sub ID 1` is the click id; `Transaction ID` is TUNE's own and goes "
            "into the custom data."
        ),
        ("A transaction may have several conversions, so `Tune Event ID` is the order id."),
        (
            "Times are in the network's zone, which the file does not state: `--timezone`. "
            "Without a column `Currency`, state `--currency`."
        ),
        ("`--amount` chooses; by default the sale amount, and the revenue where there is none."),
    ),
)

IMPORT = FileMapping(
    name="tune-import",
    title="TUNE: file for importing conversions",
    signature=("transaction_id", ("tune_event_id", "id")),
    absent=("Date / Time", "datetime", "event_time", "conversion_id", "amount", "conversion_type"),
    refusal=(
        "it is a file for uploading conversions to TUNE, which states no times; use the export of "
        "the Conversion Report"
    ),
)

PRESETS = (REPORT, IMPORT)
