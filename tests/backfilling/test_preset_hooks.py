"""The parts of presets that are functions: any text is read, or refused with the field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async import BackfillSettings, Conversion, ConversionType
from anytrack_async.backfilling.compiled import RowMapper
from anytrack_async.backfilling.presets.hubspot import ContactTable
from anytrack_async.backfilling.presets.registry import find_preset
from anytrack_async.backfilling.rules import Skip
from anytrack_async.backfilling.vocabulary import type_of
from anytrack_async.errors import InvalidConversionError

TIME = "2026-05-01T10:00:00Z"

words = st.sampled_from(
    [
        *("et=lead", "txid=7", "et", "=", "event_1=5", "event_1", "sale", "a=b=c", "name:Shirt"),
        *("name:Shirt|sku:S|quantity:2", "quantity:0|sku:S", "sku:S|quantity:x;sku:T", "|;:"),
        *('[{"id": 1}]', '[{"id": "S", "quantity": -1}]', "[1]", '{"id": 1}', "[", "null"),
    ]
)
cells = st.one_of(words, st.text(max_size=20))


def mapped(preset: str, values: dict[str, Any]) -> Conversion | Skip:
    mapping = find_preset(preset)
    columns = [*mapping.header, *(name for name in values if name not in mapping.header)]
    settings = BackfillSettings(
        currency="USD", timezone="UTC", timestamp=datetime(2026, 5, 1, tzinfo=UTC)
    )
    row = [values.get(column, "") for column in columns]
    return RowMapper(mapping, columns, settings)(row)


@given(name=st.text(max_size=40))
def test_every_name_has_a_type_or_none(name: str) -> None:
    assert type_of(name) in (*ConversionType, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(name, ConversionType.SALE) for name in ("Purchase", "offline_sale", "Shop Order")],
        *[(name, ConversionType.LEAD) for name in ("Lead", "GenerateLead", "Qualified lead")],
        *[(name, ConversionType.SIGNUP) for name in ("Sign-up", "SignUp", "CompleteRegistration")],
        *[(name, None) for name in ("AddToCart", "Leader", "Wholesaler", "")],
    ],
)
def test_a_word_in_the_name_states_the_type(name: str, expected: ConversionType | None) -> None:
    assert type_of(name) == expected


@given(kind=cells, transaction=cells)
def test_voluum(kind: str, transaction: str) -> None:
    values = {"click id": "c", "payout": "5", "type": kind, "transaction id": transaction}
    refused_or_read("voluum", values)


@given(status=cells, event=cells)
def test_binom(status: str, event: str) -> None:
    values = {"Clickid": "c", "Payout": "5", "Status": status, "event 1": event}
    refused_or_read("binom", values)


@given(all_items=cells, first=cells)
def test_woocommerce(all_items: str, first: str) -> None:
    values = {
        "order_id": "1",
        "order_total": "5",
        "order_currency": "EUR",
        "billing_email": "a@b.c",
        "order_date": TIME,
        "status": "completed",
        "line_items": all_items,
        "line_item_1": first,
    }
    refused_or_read("woocommerce", values)


@given(contents=st.one_of(cells, st.lists(st.dictionaries(words, cells))), name=cells)
def test_meta_events(contents: object, name: str) -> None:
    values = {
        "event_name": name or "Lead",
        "event_time": TIME,
        "email": "a@b.c",
        "value": "5",
        "contents": contents,
        "action_source": "website",
    }
    refused_or_read("meta-events", values)


@given(contact=cells, ids=cells)
def test_hubspot(contact: str, ids: str) -> None:
    values = {
        "Record ID": "1",
        "Deal Name": "x",
        "Deal Stage": "Closed Won",
        "Amount": "5",
        "Close Date": TIME,
        "Associated Contact": contact,
        "Associated Contact IDs": ids,
    }
    refused_or_read("hubspot-deals", values)


def refused_or_read(preset: str, values: dict[str, Any]) -> None:
    try:
        result = mapped(preset, values)
    except InvalidConversionError:
        return
    assert isinstance(result, Conversion | Skip)


@pytest.mark.parametrize(
    ("preset", "values", "check"),
    [
        (
            "voluum",
            {"click id": "c", "payout": "5", "type": "txid=7"},
            lambda sale: sale.event_id == "sale:7",
        ),
        (
            "binom",
            {"Clickid": "c", "Payout": "5", "Status": "event_2=9"},
            lambda sale: sale.custom_data == {"event_2": "9"},
        ),
        (
            "clickflare",
            {"click id": "c", "payout": "5", "conversion type": "trial", "transaction id": "7"},
            lambda event: event.event_id == "custom:trial:7",
        ),
    ],
)
def test_parameters_may_be_left_out(
    preset: str, values: dict[str, Any], check: Callable[[Any], bool]
) -> None:
    assert check(mapped(preset, values))


@given(
    names=st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"))), min_size=1, max_size=5)
)
def test_every_contact_is_found_again(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = Path(tmp_path_factory.mktemp("contacts")) / "contacts.jsonl"
    lines = [
        f'{{"Record ID": {number}, "Email": "c{number}@example.com", "First Name": {quoted(name)}}}'
        for number, name in enumerate(names, 1)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")

    table = ContactTable(path)

    for number, name in enumerate(names, 1):
        contact = table.find(str(number))
        assert contact["email"] == f"c{number}@example.com"
        assert contact.get("first_name", "") == name.strip()
    assert table.find("nobody") == {}


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
