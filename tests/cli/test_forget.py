"""`anytrack outbox forget`."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from anytrack_async import Conversion, Customer, SQLiteOutbox

EMAIL = "jane@example.com"


async def fill(path: Path) -> None:
    outbox = SQLiteOutbox(path)
    await outbox.open(["meta"])
    customer = Customer(email=EMAIL, external_id="c-7")
    await outbox.append(
        [Conversion.sale(revenue=1, order_id=str(number), customer=customer) for number in (1, 2)]
    )
    await outbox.append([Conversion.sale(revenue=1, order_id="3")])
    claim = await outbox.claim("meta", 1, 60)
    await outbox.settle(claim)
    await outbox.aclose()


@pytest.fixture
def filled(outbox_path):
    anyio.run(fill, outbox_path)
    return outbox_path


def test_the_address_is_read_from_the_standard_input(run, filled):
    result = run("outbox", "forget", "--email", "-", "--json", text=f"{EMAIL.upper()}\n")

    assert result.code == 0
    conversions = {item["event_id"]: item for item in json.loads(result.out)["conversions"]}
    assert conversions["sale:1"]["sent"] == {"meta": None}
    assert conversions["sale:2"]["discarded"] == ["meta"]
    assert EMAIL not in result.out.lower() + result.err.lower()
    assert EMAIL.encode() not in filled.read_bytes()


def test_a_table_says_where_to_erase_too(run, filled):
    result = run("outbox", "forget", "--external-id", "C-7", "--yes", "--redact")

    assert result.code == 0
    assert "erased from 2 conversions" in result.out
    assert "meta" in result.out
    again = run("outbox", "forget", "--external-id", "C-7", "--yes")
    assert "the outbox has no data of this person" in again.out


def test_nothing_is_erased_without_a_yes(run, filled):
    assert run("outbox", "forget", "--email", EMAIL, text="n\n").code == 1
    assert EMAIL.encode() in filled.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "forget needs --email, --phone or --external-id"),
        (("--email", "-", "--phone", "-"), "only one of --email and --phone can be -"),
        (("--phone", "none"), "phone must be text with a usable value"),
    ],
)
def test_a_person_must_be_named(run, filled, options, message):
    result = run("outbox", "forget", *options, "--yes")

    assert result.code == 2
    assert message in result.err
