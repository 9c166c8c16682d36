"""Amounts and times: what is clear is read, what is not is refused with the setting to state."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from anytrack_async import BackfillSettings, ConfigurationError, InvalidConversionError
from anytrack_async.backfilling.amounts import amount_parser
from anytrack_async.backfilling.lifting import lift
from anytrack_async.backfilling.times import time_parser
from anytrack_async.client.export_formats import with_escape, without_escape

MOMENT = datetime(2026, 5, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "decimal", "amount"),
    [
        ("49.90", None, "49.90"),
        ("1234.5678", None, "1234.5678"),
        ("$ 12.50", None, "12.50"),
        ("12.50 EUR", None, "12.50"),
        ("-€5", None, "-5"),
        ("(3.00)", None, "-3.00"),
        ("3.00-", None, "-3.00"),
        ("1,234.50", ".", "1234.50"),
        ("1,234", ".", "1234"),
        ("12,34,567.00", ".", "1234567.00"),
        ("1.234,50", ",", "1234.50"),
        ("1.234", ",", "1234"),
        ("1 234,50", ",", "1234.50"),
        ("1\u202f234,50 €", ",", "1234.50"),
        ("1'234.50", ".", "1234.50"),
        ("0,5", ",", "0.5"),
    ],
)
def test_amounts(text: str, decimal: str | None, amount: str):
    assert amount_parser(decimal)(text) == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["1,234", "12,50", "1.234", "1.234.567", "1,234.50", "-1.234", "€1,234"]
)
def test_without_a_decimal_sign_an_unclear_amount_is_refused(text: str):
    with pytest.raises(InvalidConversionError, match="state the decimal sign"):
        amount_parser(None)(text)


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("1,23.50", "."),
        ("1.23,50", ","),
        ("x", "."),
        ("1.2.3", "."),
        ("NaN", "."),
        ("1e999999", ","),
        ("49_90", "."),
        ("1.23E+05", "."),
        ("1,23E+11", ","),
    ],
)
def test_what_is_no_amount_is_refused(text: str, decimal: str):
    with pytest.raises(InvalidConversionError):
        amount_parser(decimal)(text)


def test_numbers_of_json_and_databases_are_amounts():
    parse = amount_parser(None)

    assert [parse(0.1), parse(5), parse(Decimal("1.234"))] == [
        Decimal("0.1"),
        Decimal(5),
        Decimal("1.234"),
    ]
    for value in (True, [1], float("inf")):
        with pytest.raises(InvalidConversionError):
            parse(value)


@pytest.mark.parametrize(
    "text",
    [
        "2026-05-01 10:00:00 +0200",
        "2026-05-01T08:00:00Z",
        "2026-05-01 08:00:00 UTC",
        "2026-05-01T10:00:00.000+02:00",
        " 2026-05-01 08:00:00+00:00 ",
        "1777622400",
        "1777622400000",
        1777622400,
        1777622400.0,
        datetime(2026, 5, 1, 10, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
)
def test_times_with_a_zone(text: object):
    assert time_parser(("iso", "unix"), None)(text, None) == MOMENT


def test_times_without_a_zone_are_refused_or_in_the_stated_zone():
    berlin = ZoneInfo("Europe/Berlin")

    for value in ("2026-05-01 10:00:00", datetime(2026, 5, 1, 10)):
        with pytest.raises(InvalidConversionError, match="has no time zone: state"):
            time_parser(("iso",), None)(value, None)
        assert time_parser(("iso",), berlin)(value, None) == MOMENT
    assert time_parser(("%m/%d/%Y %H:%M",), berlin)("05/01/2026 10:00", None) == MOMENT
    assert time_parser(("iso",), UTC)("2026-05-01 10:00:00", berlin) == MOMENT


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-10-25 02:30:00 +0200", 0),
        ("2026-10-25 02:30:00 +0100", 1),
        ("2026-10-25 03:00:00", 2),
        ("2026-03-29 03:00:00", 1),
        ("2026-03-29", 23),
    ],
)
def test_a_time_that_the_zone_has_once_is_clear(text: str, hour: int):
    assert time_parser(("iso",), ZoneInfo("Europe/Berlin"))(text, None).hour == hour


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2026-10-25 02:30:00", r"twice in Europe/Berlin.*\+0200 or \+0100"),
        ("25.10.2026 02:00", "twice in Europe/Berlin"),
        (datetime(2026, 10, 25, 2, 59, 59), "twice in Europe/Berlin"),
        ("2026-11-01 01:30 America/New_York", "twice in America/New_York"),
        ("2026-03-29 02:30:00", "does not exist in Europe/Berlin"),
    ],
)
def test_a_time_that_the_zone_has_twice_or_not_at_all_is_refused(text: object, problem: str):
    parse = time_parser(("iso", "written"), ZoneInfo("Europe/Berlin"))

    with pytest.raises(InvalidConversionError, match=problem):
        parse(text, None)


def test_a_day_that_begins_when_the_clocks_change_is_its_first_moment():
    parse = time_parser(("iso",), ZoneInfo("America/Santiago"))  # midnight does not exist

    assert parse("2026-09-06", None) == datetime(2026, 9, 6, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    ["05/01/2026", "soon", "20260501", "123", 5, True, "202605011000", 202605011000, 17776224001],
)
def test_what_is_no_time_is_refused(value: object):
    with pytest.raises(InvalidConversionError, match="timestamp"):
        time_parser(("iso", "unix"), UTC)(value, None)


def test_click_ids_are_lifted_out_of_lines_links_and_cells():
    ids = lift(
        [
            ("Note Attributes", "fbclid: AbC\n_fbp=fb.1.2.3\ncolour: red"),
            ("Notes", "came from https://x.example/?atclid=K1&gclid=G1 and\n[::1?bad=1"),
            ("ttclid", " T1 "),
            ("fbclid", "second"),
        ]
    )

    assert ids == {
        "customer.fbclid": "AbC",
        "customer.fbp": "fb.1.2.3",
        "click_id": "K1",
        "clicks.gclid": "G1",
        "clicks.ttclid": "T1",
    }


@pytest.mark.parametrize("cell", ["", "a", "=1", "'=1", "''=1", "'01234", "-5", "'", " +1"])
def test_cells_are_made_safe_and_back(cell: str):
    assert without_escape(with_escape(cell)) == cell
    assert not with_escape(cell).startswith(("=", "-", " +"))


@pytest.mark.parametrize(
    "options",
    [
        {"timezone": "Europe"},
        {"timezone": "+25:00"},
        {"decimal": "'"},
        {"currency": "euros"},
        {"delimiter": ",,"},
        {"encoding": "utf-99"},
        {"limit": 0},
        {"rate": 0},
        {"refunds": "send"},
        {"since": datetime(2026, 1, 1)},
    ],
)
def test_settings_are_checked(options: dict[str, object]):
    with pytest.raises((ConfigurationError, InvalidConversionError), match=next(iter(options))):
        BackfillSettings(**options)  # type: ignore[arg-type]
