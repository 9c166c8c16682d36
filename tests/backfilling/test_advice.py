"""Messages name what whoever reads them can change: an argument, an option, or a key of a map."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anytrack_async import BackfillSettings, ConfigurationError, FileMapping
from anytrack_async.cli.app import app
from tests.backfilling.tables import Result, read

pytestmark = pytest.mark.asyncio

HEADER = "Nr,Wann,Summe,Waehrung\n"
CASES = {
    "timezone": ("1,2026-05-01 10:00,5,EUR", "timezone='Europe/Berlin'", "--timezone Europe/"),
    "decimal": ('1,2026-05-01T10:00Z,"1,234",EUR', "decimal=','", "--decimal ,"),
    "currency": ("1,2026-05-01T10:00Z,5,", "currency='EUR'", "--currency EUR"),
    "day_first": ("1,05/06/2026 10:00 +0000,5,EUR", "day_first=True", "--day-first"),
}


def mapping(*formats: str) -> FileMapping:
    return FileMapping(
        name="shop",
        columns={"order_id": "Nr", "timestamp": "Wann", "currency": "Waehrung"},
        amounts="Summe",
        formats=formats or ("iso", "written"),
    )


def write(path: Path, row: str) -> Path:
    path.write_text(f"{HEADER}{row}\n", encoding="utf-8")
    return path


async def refused(path: Path, *, by: str, own: FileMapping | None = None) -> str:
    result: Result = await read(
        path, mapping=own or mapping(), settings=BackfillSettings(advice=by)
    )
    (reject,) = result.rejects
    return reject.reason


@pytest.mark.parametrize("setting", CASES)
async def test_a_reject_names_the_argument_or_the_option_and_the_key_of_the_map(setting, tmp_path):
    row, argument, option = CASES[setting]
    path = write(tmp_path / "orders.csv", row)

    in_python, on_the_command_line = [
        await refused(path, by=door) for door in ("python", "command")
    ]

    assert argument in in_python
    assert "--" not in in_python
    assert option in on_the_command_line
    assert argument not in on_the_command_line
    assert f"{setting} = " in in_python
    assert "in map.toml" in on_the_command_line


async def test_a_time_of_another_form_names_the_formats_of_the_map(tmp_path):
    path = write(tmp_path / "orders.csv", "1,26.11.2026 10:00,5,EUR")

    assert "`formats` of map.toml" in await refused(path, by="command", own=mapping("iso"))


async def test_a_preset_advises_a_map_of_ones_own_for_another_form(tmp_path):
    path = tmp_path / "stripe.csv"
    path.write_text(
        "id,Created date (UTC),Amount,Currency,Status\nch_1,1 May 26,5,eur,Paid\n", "utf-8"
    )

    (reject,) = (await read(path, settings=BackfillSettings(advice="command"))).rejects

    assert "--map MAP.TOML" in reject.reason


async def test_an_order_of_day_and_month_without_written_times_is_an_error(tmp_path):
    path = write(tmp_path / "orders.csv", "1,05/06/2026,5,EUR")
    settings = BackfillSettings(day_first=True)

    with pytest.raises(ConfigurationError, match="`formats` of the mapping has no"):
        await read(path, mapping=mapping("iso"), settings=settings)


async def test_bytes_of_another_encoding_name_the_option(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_bytes(HEADER.encode() + b"1,2026-05-01T10:00Z,5,EUR\n" * 20_000 + b"\xe9,,,\n")

    assert "--encoding cp1252" in await refused(path, by="command")


async def test_the_zone_of_the_settings_wins_over_that_of_ones_own_map(tmp_path):
    path = write(tmp_path / "orders.csv", "1,2026-05-01 10:00,5,EUR")
    own = FileMapping(
        name="shop",
        columns={"order_id": "Nr", "timestamp": "Wann", "currency": "Waehrung"},
        amounts="Summe",
        timezone="Europe/Berlin",
    )

    result = await read(path, mapping=own, settings=BackfillSettings(timezone="UTC"))

    assert [sale.timestamp.hour for sale in result.conversions] == [10]


async def test_another_zone_than_the_file_states_is_an_error(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text(
        "Parameters:TimeZone=America/Sao_Paulo\nGoogle Click ID,Conversion Name,Conversion Time\n"
        "G1,Lead,2026-02-03 10:00:00\n",
        "utf-8",
    )

    with pytest.raises(ConfigurationError, match="--timezone: leave that out"):
        await read(path, settings=BackfillSettings(timezone="UTC", advice="command"))
    same = await read(path, settings=BackfillSettings(timezone="America/Sao_Paulo"))

    assert [lead.timestamp.hour for lead in same.conversions] == [13]


async def test_a_value_of_an_option_that_is_not_valid_names_the_option(tmp_path):
    path = write(tmp_path / "orders.csv", "1,2026-05-01T10:00Z,5,EUR")

    result = CliRunner().invoke(app, ["backfill", str(path), "--dry-run", "--max-rejects", "0"])

    assert result.exit_code == 2
    assert "--max-rejects must" in result.stderr
