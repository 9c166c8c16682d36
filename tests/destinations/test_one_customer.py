"""An e-mail address identifies the same customer at every destination, however it was entered."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.codec.storage import decode, encode
from anytrack_async.destinations.hubspot.mapping import to_contact, to_custom_event
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.meta.user_data import user_data
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

HUBSPOT = HubSpotSettings(access_token="t", event_name="pe1_purchase")
JANE = "jane.doe@shop.example"

INVISIBLE = [
    *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff"),  # zero width, byte order mark
    *("\u200e", "\u200f", "\u061c", "\u202a", "\u202e", "\u2066", "\u2069"),  # direction
    *("\u00ad", "\u034f", "\u180e", "\ufe0f", "\u3164", "\u2800", "\U000e0041", "\U000e0100"),
    *("\0", "\x01", "\x08", "\x1b", "\x7f", "\x80", "\x9f"),
]


def lead(email: object) -> Conversion:
    return Conversion.lead(customer=Customer(email=email))


def at_meta(conversion: Conversion) -> list[str]:
    return user_data(conversion).get("em", [])


def at_hubspot(conversion: Conversion) -> str | None:
    contact = to_contact(conversion, HUBSPOT)
    event = to_custom_event(conversion, HUBSPOT)
    assert (contact and contact["id"]) == (event and event["email"])
    return contact and contact["id"]


def hashes(*addresses: str) -> list[str]:
    return sorted(sha256(address.encode()).hexdigest() for address in addresses)


def assert_is(email: object, address: str | None) -> None:
    conversion = lead(email)
    for same in (conversion, decode(*encode(conversion))):
        assert at_hubspot(same) == address
        assert at_meta(same) == ([] if address is None else hashes(address))


@pytest.mark.parametrize("mark", INVISIBLE, ids=ascii)
def test_invisible_characters_change_nothing(mark: str):
    for entered in (f"{mark}{JANE}", f"{JANE}{mark}", JANE.replace("@", f"{mark}@{mark}"), JANE):
        assert_is(entered, JANE)
        assert_is([f" {entered}\n", JANE.upper()], JANE)
    assert_is(mark, None)


@pytest.mark.parametrize(
    "entered",
    [
        f"\xa0{JANE}\u3000",
        f"\ufeff {JANE} \u200b",
        f"{JANE}\r\n\0",
        "Jane.Doe@Shop.Example",
        "jane.doe＠shop.example",
        "ｊａｎｅ．ｄｏｅ＠ｓｈｏｐ．ｅｘａｍｐｌｅ",
        "jane.doe@shop。example",
        "jane.doe@shop｡example",
    ],
    ids=ascii,
)
def test_whitespace_case_and_full_width_change_nothing(entered: str):
    assert_is(entered, JANE)


@pytest.mark.parametrize(
    "entered",
    [
        f"mailto:{JANE}",
        f"Jane <{JANE}>",
        f"<{JANE}>",
        f"{JANE}.",
        f"{JANE},",
        f"{JANE}; joe@shop.example",
        "jane doe@shop.example",
        "jane\tdoe@shop.example",
        "jane\u2028doe@shop.example",
        "jane\xa0doe@shop.example",
        "jane@shop.example\njoe@shop.example",
        "jane@@shop.example",
        "jane(at)shop.example",
        "jane@shop",
        "jane@my_shop.example",
        "jane\ufffd@shop.example",
        "jane" + chr(0xD800) + "@shop.example",
        "jane@shop.example" + "x" * 254,
        "j" * 100_000,
        "nobody",
        "@",
    ],
    ids=lambda entered: ascii(entered)[:40],
)
def test_what_is_no_address_is_left_out_everywhere(entered: str):
    assert_is(entered, None)


def test_addresses_in_other_scripts_stay_as_written_in_one_form():
    assert_is("JÖRG@MÜNCHEN.example", "jörg@münchen.example")
    assert_is("jo\u0308rg@mu\u0308nchen.example", "jörg@münchen.example")
    assert_is("joe@xn--mnchen-3ya.example", "joe@xn--mnchen-3ya.example")


def test_only_meta_takes_addresses_that_hubspot_refuses():
    for address in ("a@b.c", '"a b"@shop.example'):
        assert (at_hubspot(lead(address)), at_meta(lead(address))) == (None, hashes(address))


@given(st.text() | st.emails() | st.text(alphabet="aB@.\"' \0\u200b\u00ad\xfc\uff20-_<>"))
def test_any_text_is_one_customer_or_none(text: str):
    address, found = at_hubspot(lead(text)), at_meta(lead(text))

    assert address is None or found == hashes(address)


@given(st.lists(st.sampled_from(INVISIBLE), min_size=1), st.integers(0, len(JANE)))
def test_invisible_characters_anywhere_change_nothing(marks: list[str], place: int):
    assert_is(JANE[:place] + "".join(marks) + JANE[place:], JANE)
