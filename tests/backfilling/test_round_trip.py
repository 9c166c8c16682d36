"""What is exported is read back as equal conversions, and nothing that ad services need is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import attrs
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytrack_async import BackfillSettings, ConfigurationError, Consent, Conversion
from anytrack_async.client.export import export
from anytrack_async.client.export_formats import COLUMNS, DEFAULT_COLUMNS
from tests.backfilling.tables import read
from tests.examples import examples
from tests.strategies import recent_conversions

pytestmark = pytest.mark.asyncio

AT = datetime(2026, 5, 1, 10, 0, 0, tzinfo=UTC)


async def source(conversions: Sequence[Conversion]) -> AsyncGenerator[Conversion, None]:
    for conversion in conversions:
        yield conversion


def as_recorded(
    conversion: Conversion, clicks: dict[str, str], consent: Consent | None
) -> Conversion:
    """Without what AnyTrack does not have."""
    return attrs.evolve(
        conversion, customer=None, meta=None, items=(), clicks=clicks, consent=consent
    )


states = st.sampled_from(("granted", "denied", "unknown"))
recorded = st.builds(
    as_recorded,
    recent_conversions,
    st.dictionaries(
        st.sampled_from(("gclid", "fbclid", "ttclid", "msclkid")),
        st.text("abcXYZ019-_.=+'", min_size=1, max_size=20),
    ),
    st.none() | st.builds(Consent, ad_storage=states, ad_user_data=states, forgotten=st.booleans()),
)


async def read_back(
    conversions: Sequence[Conversion], suffix: str, columns: Sequence[str] | None = None
) -> list[Conversion]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"export.{suffix}"
        await export(source(conversions), path, columns=columns)
        result = await read(path)
    assert not result.reasons
    assert result.presets == ["anytrack"]
    return result.conversions


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@settings(max_examples=examples(40), deadline=None)
@given(conversions=st.lists(recorded, min_size=1, max_size=4))
async def test_any_conversions_are_read_back_as_they_were(
    conversions: list[Conversion], suffix: str
):
    assert await read_back(conversions, suffix, COLUMNS) == conversions


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("consent", [None, Consent(), Consent(ad_user_data=False)])
async def test_click_ids_and_consent_are_in_an_export_of_the_default_columns(
    suffix: str, consent: Consent | None
):
    clicks = {"gclid": "G-1", "fbclid": "=F-1"}
    sale = Conversion.sale(
        id="c1", order_id="7", revenue="1", timestamp=AT, clicks=clicks, consent=consent
    )

    (again,) = await read_back([sale], suffix)

    assert (again.clicks, again.consent) == (clicks, consent)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    "text", ["=1+1", "'=1+1", "''-x", "'quoted'", "-5", "a,b", 'say "hi"', "1"]
)
async def test_formulas_and_quotes_are_read_back_as_they_were(suffix: str, text: str):
    sale = Conversion.sale(
        id="c1", revenue="49.90", currency="EUR", order_id="7", source=text, timestamp=AT
    )

    assert await read_back([sale], suffix) == [sale]


async def test_parquet_has_a_row_group_for_so_many_rows(tmp_path: Path):
    sales = [Conversion.sale(order_id=str(n), revenue="1", timestamp=AT) for n in range(2_500)]
    path = tmp_path / "out.parquet"

    with mock.patch("anytrack_async.client.export_parquet._GROUP_ROWS", 1_000):
        assert await export(source(sales), path) == 2_500

    file = pyarrow.parquet.ParquetFile(path)
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [1_000, 1_000, 500]
    assert file.schema_arrow.field("timestamp").type.tz == "UTC"


async def test_parquet_without_conversions_has_its_columns(tmp_path: Path):
    assert await export(source([]), tmp_path / "out.parquet") == 0

    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert (table.num_rows, table.column_names) == (0, list(COLUMNS))


async def test_without_pyarrow_the_message_says_what_to_install(tmp_path: Path):
    with mock.patch.dict("sys.modules", {"pyarrow": None}):
        with pytest.raises(ConfigurationError, match=r"anytrack_async\[parquet\]"):
            await export(source([]), tmp_path / "out.parquet")


# Columns


async def test_columns_can_be_chosen(tmp_path: Path):
    sale = Conversion.sale(order_id="7", revenue="1", custom_data={"plan": "pro"}, timestamp=AT)

    await export(source([sale]), tmp_path / "out.csv", columns=["order_id", "custom_data"])

    text = (tmp_path / "out.csv").read_text()
    assert text == 'order_id,custom_data\n7,"{""plan"":""pro""}"\n'


@pytest.mark.parametrize(
    ("columns", "format_", "message"),
    [
        (["order_id", "email"], "csv", "'email' is unknown"),
        ([], "csv", "must be a list"),
        (["order_id"], "google-ads", "the columns of google-ads are fixed"),
    ],
)
async def test_wrong_columns_are_refused(
    tmp_path: Path, columns: list[str], format_: str, message: str
):
    with pytest.raises(ConfigurationError, match=message):
        await export(source([]), tmp_path / "out", format_, columns)


async def test_the_default_columns_begin_with_those_of_anytrack():
    assert DEFAULT_COLUMNS[10:] == ("order_id", "event_id", "clicks", "consent")


# Ad services

SALE = Conversion.sale(
    order_id="7",
    revenue="49.90",
    currency="EUR",
    timestamp=AT,
    ip_address="203.0.113.9",
    user_agent="Mozilla/5.0",
    page_url="https://example.com/thanks",
    clicks={"gclid": "G1"},
    custom_data={"msclkid": "M1", "fbp": "fb.1.1596403881668.1116446470"},
)
GOOGLE_COLUMNS = (
    "Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency"
)
BARE = Conversion.lead(order_id="8", timestamp=AT)


async def lines(tmp_path: Path, format_: str) -> list[str]:
    path = tmp_path / "out.csv"
    assert await export(source([SALE, BARE]), path, format_) == 1
    return path.read_text().splitlines()


async def test_google_ads_gets_conversions_with_its_click_id(tmp_path: Path):
    assert await lines(tmp_path, "google-ads") == [
        "Parameters:TimeZone=+0000",
        f"{GOOGLE_COLUMNS},Order ID",
        "G1,Purchase,2026-05-01 10:00:00+0000,49.90,EUR,7",
    ]


@pytest.mark.parametrize("format_", ["google-ads", "microsoft-ads", "meta-events"])
@pytest.mark.parametrize(
    ("consent", "count"),
    [
        (Consent(ad_user_data="granted"), 1),
        (Consent(ad_storage="denied"), 1),
        (Consent(ad_user_data="denied"), 0),
        (Consent(forgotten=True), 0),
    ],
)
async def test_advertisers_get_no_conversion_whose_visitor_has_denied_it(
    format_: str, consent: Consent, count: int, tmp_path: Path
):
    sale = attrs.evolve(SALE, consent=consent)

    assert await export(source([sale]), tmp_path / "out.csv", format_) == count


async def test_microsoft_advertising_gets_conversions_with_its_click_id(tmp_path: Path):
    assert await lines(tmp_path, "microsoft-ads") == [
        "Parameters:TimeZone=+0000",
        "Microsoft Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency",
        "M1,Purchase,2026-05-01 10:00:00+0000,49.90,EUR",
    ]


async def test_meta_gets_conversions_that_it_can_match(tmp_path: Path):
    header, row = await lines(tmp_path, "meta-events")

    assert dict(zip(header.split(","), row.split(","), strict=True)) == {
        "event_name": "Purchase",
        "event_time": "1777629600",
        "event_id": "sale:7",
        "value": "49.90",
        "currency": "EUR",
        "order_id": "7",
        "event_source_url": "https://example.com/thanks",
        "client_ip_address": "203.0.113.9",
        "client_user_agent": "Mozilla/5.0",
        "fbc": "",
        "fbp": "fb.1.1596403881668.1116446470",
        "fbclid": "",
    }


async def test_an_export_can_be_back_filled_with_other_settings(tmp_path: Path):
    await export(source([SALE]), tmp_path / "out.csv")

    result = await read(tmp_path / "out.csv", settings=BackfillSettings(until=AT))

    assert result.counts.skipped
