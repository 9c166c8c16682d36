"""Each preset reads the files of its own system, in whatever variant, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anytrack_async import BackfillSettings, Conversion, Reject, read_conversions
from anytrack_async.backfilling.mapping import FileMapping
from anytrack_async.backfilling.presets.describe import page
from anytrack_async.backfilling.presets.registry import all_presets, recognise
from anytrack_async.backfilling.rejects import RejectsFile
from anytrack_async.errors import ConfigurationError
from tests.backfilling.golden import (
    NAMES,
    REFUSED,
    WITH_HEADER,
    WITHOUT_HEADER,
    as_plain,
    as_report,
    expected_of,
    load,
    read_golden,
    report_of,
    settings_of,
    to_text,
)
from tests.backfilling.tables import GOLDEN, read

DOCS = Path(__file__).parent.parent.parent / "docs" / "presets.md"


def header(name: str) -> list[str]:
    return load(name)[1][0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.asyncio
async def test_golden_file_is_read_as_expected(name: str) -> None:
    result = await read_golden(name)

    report = report_of(name)
    report.pop("settings")
    assert as_report(result) == report
    assert as_plain(result) == expected_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_expected_conversions_are_plain_data_of_the_library(name: str) -> None:
    for record in expected_of(name):
        assert Conversion.from_dict(record).event_id == record["event_id"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.asyncio
async def test_every_row_is_accepted_skipped_or_rejected(name: str) -> None:
    result = await read_golden(name)

    outcomes = len(result.conversions) + result.counts.all_skipped + len(result.rejects)
    assert outcomes == result.counts.rows > 0


# Recognition


@pytest.mark.parametrize("name", WITH_HEADER)
def test_file_is_recognised_by_its_own_preset_alone(name: str) -> None:
    columns = header(name)

    matches = {preset.name for preset in all_presets() if preset.matches(columns)}

    assert matches == {report_of(name)["preset"]}


SIGNED = [preset for preset in all_presets() if preset.signature]


@pytest.mark.parametrize("preset", SIGNED, ids=lambda preset: preset.title)
def test_signature_alone_recognises_a_preset(preset: FileMapping) -> None:
    """Every optional column may be missing."""
    columns = [item if isinstance(item, str) else item[0] for item in preset.signature]

    assert recognise(columns) is preset
    assert recognise([column.upper() for column in reversed(columns)]) is preset


@pytest.mark.parametrize("preset", SIGNED, ids=lambda preset: preset.title)
def test_signature_without_a_column_recognises_nothing_of_that_kind(preset: FileMapping) -> None:
    columns = [item if isinstance(item, str) else item[0] for item in preset.signature]

    for index in range(len(columns)):
        assert recognise(columns[:index] + columns[index + 1 :]) is not preset


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.asyncio
async def test_file_that_cannot_be_used_is_refused_with_the_reason(name: str) -> None:
    recognised = recognise(header(name))
    assert recognised is not None
    assert recognised.refusal

    for preset in (None, "stripe"):
        with pytest.raises(ConfigurationError, match="is not usable: it is ") as raised:
            await read(GOLDEN / name, preset=preset)
        assert recognised.refusal in str(raised.value)


@pytest.mark.asyncio
async def test_stated_preset_uses_the_language_of_the_file() -> None:
    result = await read(GOLDEN / "paypal-german.csv", preset="paypal")

    assert [str(sale.revenue) for sale in result.conversions] == ["1249.90", "24.90"]


# What settings change


async def ids(name: str, **changes: Any) -> list[str]:
    stated = report_of(name).get("settings", {})
    result = await read(GOLDEN / name, settings=BackfillSettings(**{**stated, **changes}))
    return [conversion.event_id for conversion in result.conversions]


@pytest.mark.asyncio
async def test_refunds_of_paypal_have_ids_of_their_own() -> None:
    assert await ids("paypal-french.csv", refunds="custom") == ["sale:F-7", "custom:Refund:FR2"]


@pytest.mark.parametrize("refunds", ["skip", "custom"])
@pytest.mark.asyncio
async def test_money_paid_to_others_is_no_refund_without_the_column_that_says_so(
    refunds: str, tmp_path: Path
) -> None:
    _, table = load("paypal-english.csv")
    path = tmp_path / "activity.csv"
    path.write_text(to_text([row[:-1] for row in table]), encoding="utf-8", newline="")

    result = await read(path, settings=BackfillSettings(refunds=refunds))

    assert result.counts.skipped["money that was paid, not received"] == 1
    assert result.counts.refunds == 1
    events = [sale.event_id for sale in result.conversions if sale.event_name]
    assert events == (["custom:Refund:TX3"] if refunds == "custom" else [])


@pytest.mark.asyncio
async def test_renewals_of_stripe_can_be_left_out(tmp_path: Path) -> None:
    _, table = load("stripe-2026.csv")
    renewal = ["ch_9", "2026-07-05 20:38:34", *table[1][2:]]
    path = tmp_path / "payments.csv"
    path.write_text(to_text([*table, renewal]), encoding="utf-8", newline="")

    result = await read(path, settings=BackfillSettings(only_first=True))

    assert [sale.event_id for sale in result.conversions] == ["sale:1001", "sale:ch_2", "sale:ch_7"]
    assert result.counts.skipped["not the customer's first"] == 1


@pytest.mark.asyncio
async def test_stages_are_named_by_label_or_by_internal_id() -> None:
    for won in ("Qualified To Buy", "qualifiedtobuy", "QUALIFIED to buy"):
        assert await ids("hubspot-deals.csv", won=won, contacts=None) == ["sale:9004"]


@pytest.mark.asyncio
async def test_deals_without_an_export_of_contacts_have_no_address() -> None:
    result = await read(
        GOLDEN / "hubspot-deals.csv", settings=BackfillSettings(timezone="Europe/Berlin")
    )

    assert [sale.customer is not None for sale in result.conversions] == [False, False, True]


@pytest.mark.asyncio
async def test_wrong_file_of_contacts_is_named() -> None:
    settings = BackfillSettings(timezone="UTC", contacts=GOLDEN / "stripe-2026.csv")

    with pytest.raises(ConfigurationError, match=r"stripe-2026\.csv is not HubSpot's export of"):
        await read(GOLDEN / "hubspot-deals.csv", settings=settings)


@pytest.mark.asyncio
async def test_order_of_day_and_month_can_be_stated() -> None:
    for day_first, day in ((True, "2026-06-05"), (False, "2026-05-06")):
        result = await read(
            GOLDEN / "paypal-english.csv", settings=BackfillSettings(day_first=day_first)
        )
        days = {sale.order_id: str(sale.timestamp.date()) for sale in result.conversions}
        assert days["TX11"] == day


@pytest.mark.asyncio
async def test_test_payments_of_stripe_are_read_if_wanted() -> None:
    assert await ids("stripe-2026.csv", test=True) == [
        *("sale:1001", "sale:ch_2", "sale:ch_5", "sale:ch_7"),
    ]


@pytest.mark.parametrize(
    ("name", "amount", "revenues"),
    [
        ("everflow.csv", "payout", ["5.125", "5.125"]),
        ("everflow.csv", "revenue", ["10", "10"]),
        ("stripe-2026.csv", "net", ["1000.00", "39.90", "5000"]),
        ("shopify-2026.csv", "net", ["49.90", "1149.90", "0.00"]),
    ],
)
@pytest.mark.asyncio
async def test_amount_is_chosen(name: str, amount: str, revenues: list[str]) -> None:
    result = await read(GOLDEN / name, settings=BackfillSettings(amount=amount))

    read_revenues = [str(conversion.revenue) for conversion in result.conversions]
    assert read_revenues[: len(revenues)] == revenues


@pytest.mark.asyncio
async def test_unknown_amount_is_an_error_that_lists_the_choices() -> None:
    with pytest.raises(ConfigurationError, match="choose one of sale_amount, revenue, payout"):
        await read(GOLDEN / "everflow.csv", settings=BackfillSettings(amount="gross"))


@pytest.mark.asyncio
async def test_file_without_times_needs_one() -> None:
    settings = BackfillSettings(currency="USD")

    with pytest.raises(ConfigurationError, match="state the time of all rows, timestamp="):
        await read(GOLDEN / "binom.txt", settings=settings, preset="binom")
    result = await read(GOLDEN / "voluum.csv", settings=settings, preset="voluum")

    assert [conversion.order_id for conversion in result.conversions] == ["1005"]
    assert sum("state timestamp=" in reason for reason in result.reasons) == 3


# Files without a header


@pytest.mark.parametrize("name", sorted(WITHOUT_HEADER))
@pytest.mark.asyncio
async def test_corrected_rows_of_a_file_without_a_header_go_through(
    name: str, tmp_path: Path
) -> None:
    reader = read_conversions(
        GOLDEN / name, preset=WITHOUT_HEADER[name], settings=settings_of(name)
    )
    rejects = [row async for row in reader if isinstance(row, Reject)]
    path = tmp_path / "rejects.csv"
    file = RejectsFile(path)
    file.write(rejects, reader.sources[0])
    file.close()
    text = path.read_text(encoding="utf-8")
    text = text.replace("much", "5").replace("1005,,", "1005,,1777622400")
    path.write_text(text, encoding="utf-8", newline="")

    result = await read_golden(name, path)

    assert result.reasons == []
    assert [str(conversion.revenue) for conversion in result.conversions] in (["5"], ["3"])


@pytest.mark.parametrize("first", ["click id,payout", "Click ID,Payout,et,txid", "ClickId,payout"])
@pytest.mark.asyncio
async def test_header_of_a_file_that_should_have_none_is_no_row(first: str, tmp_path: Path) -> None:
    path = tmp_path / "conversions.csv"
    path.write_text(f"{first}\nabc,1.50\n", encoding="utf-8")

    result = await read_golden("voluum.csv", path)

    assert [str(conversion.revenue) for conversion in result.conversions] == ["1.50"]
    assert result.counts.rows == 1


# Rows without an order id


@pytest.mark.asyncio
async def test_event_id_of_a_row_of_json_does_not_depend_on_other_rows(tmp_path: Path) -> None:
    event = '{"event_name": "Lead", "event_time": 1777622400, "email": "a@example.com"}'
    other = '{"city": "Rome", "event_time": 1777622400, "event_name": "Lead", "fbp": "fb.1.1.1"}'
    alone, among = tmp_path / "alone.jsonl", tmp_path / "among.jsonl"
    alone.write_text(f"{event}\n", encoding="utf-8")
    among.write_text(f"{other}\n{event}\n", encoding="utf-8")

    (expected,) = (await read(alone)).conversions

    assert expected.event_id == (await read(among)).conversions[1].event_id


@pytest.mark.asyncio
async def test_rows_that_differ_in_one_of_two_columns_of_a_name_have_different_ids(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "email,email,event_name,event_time\n"
        "a@example.com,x@example.com,Lead,1777622400\n"
        "b@example.com,x@example.com,Lead,1777622400\n",
        encoding="utf-8",
    )

    first, second = (await read(path)).conversions

    assert first.event_id != second.event_id


# Documentation


def test_page_about_the_presets_is_up_to_date() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), (
        "write it anew: python -m anytrack_async.backfilling.presets.describe > docs/presets.md"
    )
