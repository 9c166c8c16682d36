from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async import Conversion, MetaSettings
from anytrack_async.cli.sample import Fault, read_lines, sample, sample_lines
from anytrack_async.codec.storage import encode
from anytrack_async.destinations.meta.event import to_event
from anytrack_async.destinations.meta.preflight import find_fault
from anytrack_async.destinations.meta.user_data import match_keys
from anytrack_async.sandbox import HubSpotPortal

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
GENERATOR = Path(__file__).parent.parent / "tools" / "make_sample.py"
SHIPPED = Path(sys.modules["anytrack_async.cli.sample"].__file__).with_name("sample.jsonl")


def only(text: str, **options) -> Conversion | Fault:
    (found,) = read_lines([text], now=NOW, **options)
    return found if isinstance(found, Fault) else found[1]


def line(**fields) -> str:
    return json.dumps({"conversion_type": "sale", "order_id": "7", **fields})


# Reading


def test_a_line_becomes_a_conversion():
    text = line(
        revenue="12.50",
        currency="EUR",
        ago=90,
        customer={"email": "a@example.com"},
        items=[{"id": "sku", "quantity": 2}],
        note="for people",
    )

    found = only(text)

    assert found.event_id == "sale:7"
    assert found.revenue == Decimal("12.50")
    assert found.timestamp == NOW - timedelta(minutes=90)
    assert found.customer.email == ("a@example.com",)
    assert found.items[0].quantity == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (line(revenue=-1), "revenue must not be negative"),
        (line(customer={"mail": "x"}), "customer.mail is no field of a Customer"),
        ("[1]", "the line must be an object, not list"),
    ],
)
def test_a_fault_names_the_field(text, reason):
    assert only(text).reason == reason


def test_a_fault_has_its_line_and_its_order():
    good, bad = read_lines([line(), line(revenue=-1)], now=NOW, start=41)

    assert good[0] == 41
    assert bad == Fault(line=42, reason="revenue must not be negative", order_id="7")


def test_a_line_that_is_no_json_says_where():
    fault = only('{"order_id": ')

    assert fault.reason.startswith("the line is not JSON: ")
    assert "column" in fault.reason
    assert fault.order_id is None


def test_a_fault_never_quotes_the_customer():
    secret = "someone.private@example.com"

    for text in (line(customer={"email": [1.5], "phone": secret}), line(customer=[secret])):
        assert secret not in only(text).reason


def test_a_suffix_makes_other_orders_of_the_same_lines():
    assert only(line(), suffix="~1").event_id == "sale:7~1"
    assert only(line(order_id=None, event_id="e"), suffix="~1").event_id == "e~1"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ("ago", "timestamp", "revenue", "currency", "customer", "items", "sub_ids", "order_id", "id")
)


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_object_is_a_conversion_or_a_fault(fields):
    found = only(json.dumps({"conversion_type": "lead", **fields}))

    assert isinstance(found, Conversion | Fault)


@given(st.text(max_size=40))
def test_any_text_is_a_fault_or_an_object(text):
    assert isinstance(only(text), Conversion | Fault)


# The shipped sample


@pytest.fixture(scope="module")
def read() -> list[tuple[int, Conversion] | Fault]:
    return list(sample(now=NOW))


@pytest.fixture(scope="module")
def records() -> list[dict]:
    found = []
    for text in sample_lines():
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


@pytest.fixture(scope="module")
def good(read) -> list[Conversion]:
    return [one[1] for one in read if not isinstance(one, Fault)]


def test_the_generator_makes_the_very_bytes_that_are_shipped():
    made = subprocess.run([sys.executable, GENERATOR], capture_output=True, check=True).stdout

    assert made == SHIPPED.read_bytes()


def test_there_are_exactly_a_thousand_lines():
    assert len(sample_lines()) == 1000
    assert SHIPPED.stat().st_size < 600_000


def test_every_kind_of_fault_is_in_it(read):
    faults = [one for one in read if isinstance(one, Fault)]

    assert len(faults) == 14
    reasons = " ".join(fault.reason for fault in faults)
    for words in ("revenue must not", "currency must", "conversion_type must", "is not JSON"):
        assert words in reasons


def test_a_fault_is_where_a_note_says_so(read):
    # Notes that begin with a service or an order are for others to refuse.
    noted = {
        at
        for at, text in enumerate(sample_lines(), 1)
        if '"note"' in text and not any(f'"note":"{who}' in text for who in ("Meta:", "HubSpot:"))
    }
    contradicting = {
        at for at, text in enumerate(sample_lines(), 1) if "again, with another amount" in text
    }
    no_json = {at for at, text in enumerate(sample_lines(), 1) if not text.startswith("{")}

    faults = {one.line for one in read if isinstance(one, Fault)}

    assert faults == (noted - contradicting) | no_json


def test_meta_refuses_what_is_noted_and_nothing_else(read):
    settings = MetaSettings(pixel_id="1", access_token="t")
    refused = {
        number
        for number, one in (found for found in read if not isinstance(found, Fault))
        if find_fault(to_event(one, settings, now=NOW.timestamp()), NOW.timestamp())
    }

    noted = {at for at, text in enumerate(sample_lines(), 1) if '"note":"Meta:' in text}
    assert refused == noted
    assert len(noted) == 10


def test_hubspot_lacks_the_currencies_that_are_noted_and_no_other(good, records):
    enabled = set(HubSpotPortal().currencies)
    noted = {r["currency"] for r in records if r.get("note", "").startswith("HubSpot:")}

    assert {one.currency for one in good} - enabled == noted
    assert len(noted) == 6


def test_some_lines_repeat_and_some_contradict_an_earlier_one(good):
    contents: dict[str, list[bytes]] = {}
    for one in good:
        contents.setdefault(one.event_id, []).append(encode(one).digest)

    contradicted = [digests for digests in contents.values() if len(set(digests)) > 1]
    repeated = [d for d in contents.values() if len(d) > len(set(d))]
    assert len(contradicted) == 3
    assert len(repeated) >= 20


def test_the_types_and_currencies_are_mixed(good):
    kinds = Counter(one.conversion_type for one in good)

    assert min(kinds.values()) > 50
    assert len({one.currency for one in good}) >= 15
    assert {one.event_name for one in good} >= {"Subscribe", "試用開始"}


def test_yen_have_no_decimals(records):
    yen = [r["revenue"] for r in records if r.get("currency") == "JPY" and "revenue" in r]

    assert yen
    assert all(Decimal(str(amount)) % 1 == 0 for amount in yen)


def test_names_come_in_many_scripts(records):
    letters = "".join(r.get("customer", {}).get("last_name", "") for r in records)
    scripts = {unicodedata.name(char).split()[0] for char in letters if char.isalpha()}

    assert scripts >= {
        *("LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "CJK"),
        *("HANGUL", "DEVANAGARI", "THAI"),
    }
    assert any("HIRAGANA" in unicodedata.name(c) for r in records for c in str(r) if c > "\u3000")


def test_every_part_is_missing_somewhere(records):
    for name in ("order_id", "click_id", "customer", "items", "page_url", "ip_address", "currency"):
        assert sum(name not in r for r in records) >= 20, name
        assert sum(name in r for r in records) >= 100, name
    customers = [r["customer"] for r in records if "customer" in r]
    for name in ("email", "phone", "fbp", "fbc", "fbclid", "birth_date", "external_id"):
        assert 10 <= sum(name in one for one in customers) < len(customers), name


def test_phones_come_in_many_forms(records):
    phones = [r["customer"]["phone"] for r in records if "phone" in r.get("customer", {})]
    shapes = {"".join("9" if char.isdigit() else char for char in phone) for phone in phones}

    assert len(shapes) >= 25


def test_nobody_in_it_is_real(records):
    nets = [
        ip_network(net)
        for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    for record in records:
        if "ip_address" in record:
            address = ip_address(record["ip_address"])
            assert any(address in net for net in nets if net.version == address.version)
        if "page_url" in record:
            assert record["page_url"].startswith("https://shop.example.com/")
        for text in emails(record):
            domain = text.strip().lower().rpartition("@")[2]
            assert domain in ("example.com", "example.org", "example.net", "")


def emails(record: dict) -> list[str]:
    email = record.get("customer", {}).get("email") or []
    several = email if isinstance(email, list) else [email]
    return [text for text in several if isinstance(text, str) and "@" in text]


def test_phones_are_reserved_numbers(records):
    ranges = (
        *("555", "2079460", "7700900", "3023125", "19900", "199", "63998", "49157"),
        "7017406",
    )
    for record in records:
        phone = record.get("customer", {}).get("phone")
        if phone is None or phone == "-":
            continue
        digits = "".join(str(unicodedata.decimal(c)) for c in phone if c.isdecimal())
        assert any(part in digits for part in ranges), phone


def test_every_kind_of_identifier_is_in_it(good):
    known = Counter(key for one in good for key in match_keys(one))

    for key in ("em", "ph", "fn", "ln", "ct", "country", "fbc", "fbp", "client_ip_address"):
        assert known[key] >= 50, key


def test_a_longer_sample_goes_round_with_other_orders():
    found = [one for one in sample(2000, now=NOW) if not isinstance(one, Fault)]
    first = {one.event_id for number, one in found if number <= 1000}
    second = {one.event_id for number, one in found if number > 1000}

    assert len(first) == len(second) == 959
    assert not first & second


def test_a_shorter_sample_is_its_beginning():
    assert [n for n, _ in sample(5, now=NOW)] == [1, 2, 3, 4, 5]
