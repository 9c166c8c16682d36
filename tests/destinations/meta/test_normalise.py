import enum
import json
import math
import sys
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.meta.hashing import hashed, hashed_all
from anytrack_async.destinations.meta.normalise import normalise
from anytrack_async.destinations.meta.regions import COUNTRY_CODES, country_code, phone_with_region

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data/meta/normalisation_cases.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
FIELDS = sorted({case["field"] for case in CASES})
HASH_OF_NOTHING = sha256(b"").hexdigest()
MARY = "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"

fields = st.sampled_from(FIELDS)
# Lone surrogates too: text read with errors="surrogateescape" has them.
texts = st.text() | st.text(st.characters(categories=["Cs", "Nd", "Pd", "Mn", "Cf"]))
values = (
    texts
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.complex_numbers()
    | st.booleans()
    | st.none()
    | st.dates()
    | st.uuids()
    | st.binary()
    | st.lists(st.text())
)


def _id(case):
    return f"{case['id']} {case['verdict']}"


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_value_becomes_what_meta_expects(case):
    field, raw, want = case["field"], case["raw"], case["want"]
    if isinstance(raw, list):
        assert (hashed_all(field, raw) or None) == want["hashed"]
    else:
        assert normalise(field, raw) == want["normalized"]
        assert hashed(field, raw) == want["hashed"]


@pytest.mark.parametrize("case", [c for c in CASES if c["verdict"] == "ok"], ids=_id)
def test_value_that_the_sdk_handles_well_is_the_same_on_the_wire(case):
    sent = case["sdk"]["wire"] or []
    assert hashed_all(case["field"], case["raw"]) == (sent if isinstance(sent, list) else [sent])


@pytest.mark.parametrize(
    ("field", "raw", "expected"),
    [
        # e-mail: one address and nothing else
        ("em", "joe..x@eg.com", None),
        ("em", ".joe@eg.com", None),
        ("em", "joe@-eg.com", None),
        ("em", "joe@localhost", None),
        ("em", "joe@eg,com", None),
        ("em", "Joe <joe@eg.com>", None),
        ("em", "mailto:joe@eg.com", None),
        ("em", "joe@eg.com\u200b", None),
        ("em", "用户@例子.广告", "用户@例子.广告"),
        ("em", "नमस्ते@उदाहरण.कॉम", "नमस्ते@उदाहरण.कॉम"),
        ("em", "Jo\u0308rg@eg.com", "jörg@eg.com"),
        # phone: digits of any script, 7 to 15 of them
        ("ph", "+1.650.555.1212", "16505551212"),
        ("ph", "+1/650/555/1212", "16505551212"),
        ("ph", "１６５０５５５１２１２", "16505551212"),
        ("ph", "\u200e+1 650 555 1212\ufeff", "16505551212"),
        ("ph", "+1 650 555 1212 ext. 7", "165055512127"),
        ("ph", "1-800-FLOWERS", None),
        ("ph", "123456789012345", "123456789012345"),
        ("ph", "1234567890123456", None),
        ("ph", 16505551212, "16505551212"),
        ("ph", 16505551212.0, "16505551212"),
        ("ph", Decimal(16505551212), "16505551212"),
        ("ph", math.nan, None),
        ("ph", math.inf, None),
        ("ph", True, None),
        # names: no punctuation of any script, one spelling for one name
        ("fn", "Vale\u0301ry", "valéry"),
        ("fn", "Mary\u200b", "mary"),
        ("fn", "Mary\u00a0Ann", "maryann"),
        ("fn", "O\u02bcBrien", "obrien"),
        ("fn", "O´Brien", "obrien"),
        ("fn", "Gal·la", "galla"),
        ("fn", "علی\u200cرضا", "علی\u200cرضا"),
        ("fn", "İpek", "i\u0307pek"),
        ("fn", "Straße", "straße"),
        ("fn", "John 3rd", "john3rd"),
        ("fn", "Mary 👍🏽", "mary👍🏽"),
        ("fn", "...", None),
        ("fn", 5, None),
        ("fn", "\ud800", None),
        ("fi", "E\u0301ric", "é"),
        # gender: a word of Meta's own list, else nothing
        ("ge", "Male", "m"),
        ("ge", "Ms", "f"),
        ("ge", "other", None),
        ("ge", 1, None),
        # birth date: any order Meta's page allows, but a date
        ("db", "2/16/1997", "19970216"),
        ("db", "16/02/1997", "19970216"),
        ("db", "16.2.1997", "19970216"),
        ("db", "1997-2-6", "19970206"),
        ("db", "1997-02-16T23:00:00-05:00", "19970216"),
        ("db", "19970216T230000Z", "19970216"),
        ("db", "1997年2月16日", "19970216"),
        ("db", "١٩٩٧٠٢١٦", "19970216"),
        ("db", 19970216, "19970216"),
        ("db", date(1997, 2, 16), "19970216"),
        ("db", datetime(1997, 2, 16, 23, tzinfo=timezone(timedelta(hours=-5))), "19970216"),
        ("db", "29.02.2000", "20000229"),
        ("db", "29.02.1999", None),
        ("db", "2/16/97", None),
        ("db", "16021997", None),
        ("db", "Feb 16, 1997", None),
        ("db", "9" * 5000, None),
        ("db", "1.1." + "9" * 5000, None),
        # city: letters of any script
        ("ct", "東京", "東京"),
        ("ct", "กรุงเทพ", "กรุงเทพ"),
        ("ct", "नई दिल्ली", "नईदिल्ली"),
        ("ct", "Saint-É\u200btienne", "saintétienne"),
        ("ct", "Paris ❤️", "paris"),
        ("ct", "Honolulu\u02bb", "honolulu"),
        ("ct", "٣", None),
        # state: two letters where the post office has them, else as a city
        ("st", "Québec", "qc"),
        ("st", "US-CA", "ca"),
        ("st", "us_ca", "usca"),
        ("st", "CA-ON", "on"),
        ("st", "New York State", "ny"),
        ("st", "State of Texas", "tx"),
        ("st", "Washington, D.C.", "dc"),
        ("st", "Puerto Rico", "pr"),
        ("st", "Newfoundland & Labrador", "nl"),
        ("st", "Baja California", "bajacalifornia"),
        ("st", "West Virginia", "wv"),
        ("st", "Arkansas", "ar"),
        ("st", "北ny", "北ny"),
        # postal code: no spaces, no dashes, the first five digits in the US
        ("zp", "940351234", "94035"),
        ("zp", "94035 1234", "94035"),
        ("zp", "94035–1234", "94035"),
        ("zp", "94035-", "94035"),
        ("zp", "９４０３５", "94035"),
        ("zp", "\u200b94035", "94035"),
        ("zp", "01310-100", "01310100"),
        ("zp", "100-0001", "1000001"),
        ("zp", "SW1A 1AA", "sw1a1aa"),
        ("zp", "1012 AB", "1012ab"),
        ("zp", 94035, "94035"),
        ("zp", 94035.0, "94035"),
        ("zp", "5", None),
        ("zp", "--", None),
        ("zp", "-940351234", "94035"),
        # country: alpha-2 from a code or a name
        ("country", "UK", "gb"),
        ("country", "gbr", "gb"),
        ("country", "The Netherlands", "nl"),
        ("country", "Türkiye", "tr"),
        ("country", "Korea, Republic of", "kr"),
        ("country", "Bosnia & Herzegovina", "ba"),
        ("country", "Deutschland", "de"),
        ("country", "México", "mx"),
        ("country", "EU", None),
        ("country", "Atlantis", None),
        # external id: as given
        ("external_id", uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ("external_id", 12345.0, "12345"),
        ("external_id", 10**40, None),
        ("external_id", "  ", None),
        ("external_id", "\udc80", None),
    ],
)
def test_rules_cover_more_than_the_published_cases(field, raw, expected):
    assert normalise(field, raw) == expected


def test_enum_member_counts_as_its_value():
    class Gender(enum.Enum):
        FEMALE = "f"

    class City(enum.StrEnum):
        PARIS = "Paris"

    assert normalise("ge", Gender.FEMALE) == "f"
    assert normalise("ct", City.PARIS) == "paris"


def test_birth_date_in_the_future_is_dropped():
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)

    assert normalise("db", tomorrow) is None
    assert normalise("doby", str(tomorrow.year + 1)) is None


@pytest.mark.parametrize("length", [40, 56, 96, 128])
@pytest.mark.parametrize("field", sorted({*FIELDS} - {"external_id"}))
def test_digest_of_another_kind_is_dropped(field, length):
    assert hashed(field, "ab" * (length // 2)) is None


@pytest.mark.parametrize("field", sorted({*FIELDS} - {"external_id", "currency"}))
def test_digest_passes_in_lower_case(field):
    assert hashed(field, f" {MARY.upper()} ") == MARY


@pytest.mark.parametrize("nothing", [HASH_OF_NOTHING, "d41d8cd98f00b204e9800998ecf8427e"])
def test_digest_of_nothing_is_dropped(nothing):
    assert hashed("em", nothing) is None


def test_name_that_only_looks_like_a_digest_is_hashed():
    dashed = "550e8400-e29b-41d4-a716-446655440000"

    assert hashed("fn", dashed) == sha256(dashed.replace("-", "").encode()).hexdigest()


def test_cases_cover_all_fields():
    assert len(FIELDS) == 18


def test_unknown_field_raises_key_error():
    with pytest.raises(KeyError, match="email"):
        normalise("email", "joe@eg.com")


@given(fields, values)
def test_no_value_raises_and_an_empty_one_is_never_hashed(field, raw):
    text = normalise(field, raw)
    sent = hashed(field, raw)

    assert text != ""
    assert sent != HASH_OF_NOTHING
    assert (sent is None) == (text is None)


@given(fields, values)
def test_every_result_can_be_encoded(field, raw):
    (hashed(field, raw) or "").encode()


@given(fields, texts)
def test_hashing_twice_is_hashing_once(field, raw):
    once = hashed(field, raw)

    assert hashed(field, once) == once


@given(st.sampled_from([f for f in FIELDS if not f.startswith("f5")]), texts)
def test_normalising_twice_is_normalising_once(field, raw):
    once = normalise(field, raw)

    assert normalise(field, once) == once


@given(fields, st.lists(values))
def test_order_of_values_does_not_matter(field, many):
    assert hashed_all(field, many) == hashed_all(field, reversed(many))


def test_repeats_and_unusable_values_are_left_out_of_a_list():
    assert hashed_all("fn", ["Mary", None, "", " MARY ", MARY.upper()]) == [MARY]


@pytest.mark.parametrize("none", [None, [], "", b"", 5, (None, "")])
def test_no_value_is_an_empty_list(none):
    assert hashed_all("fn", none) == []


def test_single_value_counts_as_a_list_of_one():
    assert hashed_all("fn", "Mary") == [MARY]
    assert hashed_all("zp", 94035) == hashed_all("zp", ["94035"])


def test_every_country_code_normalises_to_itself():
    assert len(COUNTRY_CODES) == 249
    assert all(normalise("country", code.upper()) == code for code in COUNTRY_CODES)


@pytest.mark.parametrize(
    ("raw", "region", "expected"),
    [
        ("020 7946 0958", "GB", "442079460958"),
        ("+44 (0)20 7946 0958", "us", "442079460958"),
        ("(650) 555-1212 ext. 7", "US", "16505551212"),
        ("1-800-FLOWERS", "US", "18003569377"),
        ("12", "US", None),
        ("call me", "US", None),
        ("020 7946 0958", "", None),
    ],
)
def test_region_completes_a_national_number(raw, region, expected):
    assert phone_with_region(raw, region) == expected


@pytest.mark.parametrize(
    ("name", "code"),
    [("Islamic Republic of Iran", "ir"), ("840", "us"), (" uk ", "gb"), ("nowhere", None)],
)
def test_country_library_knows_official_names(name, code):
    assert country_code(name) == code


def test_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.setitem(sys.modules, "pycountry", None)

    with pytest.raises(ModuleNotFoundError, match=r"anytrack_async\[normalise\]"):
        phone_with_region("020 7946 0958", "GB")
    with pytest.raises(ModuleNotFoundError, match=r"anytrack_async\[normalise\]"):
        country_code("France")


def test_plain_rules_need_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.setitem(sys.modules, "pycountry", None)

    assert normalise("ph", "+44 20 7946 0958") == "442079460958"
    assert normalise("country", "France") == "fr"
