from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async import Conversion, MetaSettings
from anytrack_async.demo.sample import InvalidLine, ReadLine, read_lines, sample, sample_lines
from anytrack_async.destinations.meta.encoding import find_refusal
from anytrack_async.destinations.meta.event import to_event
from anytrack_async.destinations.meta.user_data import match_keys
from anytrack_async.models.contradiction import summary
from anytrack_async.sandbox import HubSpotPortal

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DIGEST = "373f982a0afb04310acef804834d35ccee284001cb3c9c64a746e6c8a0490a8d"


def read_line(text: str, **options) -> Conversion | InvalidLine:
    (line,) = read_lines([text], now=NOW, **options)
    return line if isinstance(line, InvalidLine) else line[1]


def to_line(**fields) -> str:
    return json.dumps({"conversion_type": "sale", "order_id": "7", **fields})


# Reading


def test_a_line_becomes_a_conversion():
    text = to_line(
        revenue="12.50",
        currency="EUR",
        ago=90,
        customer={"email": "a@example.com"},
        items=[{"id": "sku", "quantity": 2}],
        note="for people",
    )

    conversion = read_line(text)

    assert conversion.event_id == "sale:7"
    assert conversion.revenue == Decimal("12.50")
    assert conversion.timestamp == NOW - timedelta(minutes=90)
    assert conversion.customer.email == ("a@example.com",)
    assert conversion.items[0].quantity == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (to_line(revenue=-1), "revenue must not be negative"),
        (
            to_line(customer={"mail": "x"}),
            "customer.mail is not a field of Customer; did you mean 'email'?",
        ),
        ("[1]", "the line must be an object, not list"),
    ],
)
def test_an_invalid_line_names_the_field(text, reason):
    assert read_line(text).reason == reason


def test_an_invalid_line_has_its_number_and_order_id():
    good, bad = read_lines([to_line(), to_line(revenue=-1)], now=NOW, start=41)

    assert good[0] == 41
    assert bad == InvalidLine(line=42, reason="revenue must not be negative", order_id="7")


def test_a_line_that_is_not_json_names_the_column():
    invalid = read_line('{"order_id": ')

    assert invalid.reason.startswith("the line is not JSON: ")
    assert "column" in invalid.reason
    assert invalid.order_id is None


def test_an_invalid_line_never_quotes_customer_data():
    secret = "someone.private@example.com"

    for text in (to_line(customer={"mail": secret}), to_line(customer=[secret])):
        assert secret not in read_line(text).reason


def test_a_suffix_makes_other_orders_of_the_same_lines():
    assert read_line(to_line(), suffix="~1").event_id == "sale:7~1"
    assert read_line(to_line(order_id=None, event_id="e"), suffix="~1").event_id == "e~1"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ("ago", "timestamp", "revenue", "currency", "customer", "items", "sub_ids", "order_id", "id")
)


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_object_is_a_conversion_or_invalid(fields):
    line = read_line(json.dumps({"conversion_type": "lead", **fields}))

    assert isinstance(line, Conversion | InvalidLine)


@given(st.text(max_size=40))
def test_any_text_is_a_conversion_or_invalid(text):
    assert isinstance(read_line(text), Conversion | InvalidLine)


# The shipped sample


@pytest.fixture(scope="module")
def lines() -> list[ReadLine]:
    return list(sample(now=NOW))


@pytest.fixture(scope="module")
def records() -> list[dict]:
    objects = []
    for text in sample_lines():
        try:
            objects.append(json.loads(text))
        except ValueError:
            continue
    return objects


@pytest.fixture(scope="module")
def conversions(lines) -> list[Conversion]:
    return [line[1] for line in lines if not isinstance(line, InvalidLine)]


def test_every_python_version_makes_the_same_bytes():
    text = "".join(f"{line}\n" for line in sample_lines())

    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_there_are_exactly_a_thousand_lines():
    assert len(sample_lines()) == 1000


def test_every_kind_of_invalid_line_occurs(lines):
    invalid = [line for line in lines if isinstance(line, InvalidLine)]

    assert len(invalid) == 14
    reasons = " ".join(line.reason for line in invalid)
    for words in ("revenue must not", "currency must", "conversion_type must", "is not JSON"):
        assert words in reasons


def test_exactly_the_noted_lines_are_invalid(lines):
    texts = dict(enumerate(sample_lines(), 1))
    # Notes that begin with a service, or with an order, are on conversions.
    on_conversions = ('"note":"Meta:', '"note":"HubSpot:', "again, with another amount")
    noted = {
        number
        for number, text in texts.items()
        if '"note"' in text and not any(words in text for words in on_conversions)
    }
    not_json = {number for number, text in texts.items() if not text.startswith("{")}

    invalid = {line.line for line in lines if isinstance(line, InvalidLine)}

    assert invalid == noted | not_json


def test_meta_rejects_exactly_the_noted_lines(lines):
    settings = MetaSettings(pixel_id="1", access_token="t")
    refused = {
        number
        for number, conversion in (line for line in lines if not isinstance(line, InvalidLine))
        if find_refusal(to_event(conversion, settings, now=NOW.timestamp()), NOW.timestamp())
    }

    noted = {number for number, text in enumerate(sample_lines(), 1) if '"note":"Meta:' in text}
    assert refused == noted
    assert len(noted) == 10


def test_hubspot_lacks_exactly_the_noted_currencies(conversions, records):
    enabled = set(HubSpotPortal().currencies)
    noted = {r["currency"] for r in records if r.get("note", "").startswith("HubSpot:")}

    assert {c.currency for c in conversions} - enabled == noted
    assert len(noted) == 6


def test_some_lines_repeat_and_some_contradict_an_earlier_one(conversions):
    summaries: dict[str, list[str]] = {}
    for conversion in conversions:
        summaries.setdefault(conversion.event_id, []).append(summary(conversion))

    contradicted = [texts for texts in summaries.values() if len(set(texts)) > 1]
    repeated = [texts for texts in summaries.values() if len(texts) > len(set(texts))]
    assert len(contradicted) == 3
    assert len(repeated) >= 20


def test_the_types_and_currencies_are_mixed(conversions):
    kinds = Counter(c.conversion_type for c in conversions)

    assert min(kinds.values()) > 50
    assert len({c.currency for c in conversions}) >= 15
    assert {c.event_name for c in conversions} >= {"Subscribe", "試用開始"}


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


def test_every_field_is_sometimes_missing(records):
    for name in ("order_id", "click_id", "customer", "items", "page_url", "ip_address", "currency"):
        assert sum(name not in r for r in records) >= 20, name
        assert sum(name in r for r in records) >= 100, name
    customers = [r["customer"] for r in records if "customer" in r]
    for name in ("email", "phone", "fbp", "fbc", "fbclid", "birth_date", "external_id"):
        assert 10 <= sum(name in customer for customer in customers) < len(customers), name


def test_phones_come_in_many_forms(records):
    phones = [r["customer"]["phone"] for r in records if "phone" in r.get("customer", {})]
    shapes = {"".join("9" if char.isdigit() else char for char in phone) for phone in phones}

    assert len(shapes) >= 25


def test_addresses_are_reserved_for_documentation(records):
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
    texts = email if isinstance(email, list) else [email]
    return [text for text in texts if isinstance(text, str) and "@" in text]


def test_phones_are_reserved_numbers(records):
    ranges = ("555", "2079460", "7700900", "3023125", "19900", "199", "63998", "49157")
    for record in records:
        phone = record.get("customer", {}).get("phone")
        if phone is None or phone == "-":
            continue
        digits = "".join(str(unicodedata.decimal(c)) for c in phone if c.isdecimal())
        assert any(part in digits for part in ranges), phone


def test_every_match_key_occurs(conversions):
    counts = Counter(key for c in conversions for key in match_keys(c))

    for key in ("em", "ph", "fn", "ln", "ct", "country", "fbc", "fbp", "client_ip_address"):
        assert counts[key] >= 50, key


def test_a_longer_sample_starts_again_with_other_orders():
    lines = [line for line in sample(2000, now=NOW) if not isinstance(line, InvalidLine)]
    first = {conversion.event_id for number, conversion in lines if number <= 1000}
    second = {conversion.event_id for number, conversion in lines if number > 1000}

    assert len(first) == len(second) == 959
    assert not first & second


def test_a_shorter_sample_is_the_beginning():
    assert [n for n, _ in sample(5, now=NOW)] == [1, 2, 3, 4, 5]
