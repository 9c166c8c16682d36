"""Every value is hashed as Meta's own client hashes it, but for the differences listed here.

Each difference has the reason in Meta's documentation. A value to which no difference applies is
sent byte for byte as Meta's client sends it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from facebook_business.adobjects.serverside.normalize import Normalize
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anytrack_async.destinations.meta.hashing import hashed
from anytrack_async.destinations.meta.normalise import normalise
from tests.examples import examples

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data/meta/normalisation_cases.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
FIELDS = ("em", "ph", "fn", "ln", "ct", "st", "zp", "country", "db")
OLDER = ("f5first", "f5last", "fi", "dobd", "dobm", "doby")
REFUSED = "refused"
# Modifier letters that are typed for an apostrophe, and selectors between emoji and text.
TYPED = frozenset("ʻʼ") | {chr(code) for code in range(0xFE00, 0xFE10)}

ATOM, LABEL = r"[\w!#$%&'*+/=?^`{|}~-]+", r"[^\W_]+(?:-+[^\W_]+)*"
ADDRESS = re.compile(rf"{ATOM}(\.{ATOM})*@{LABEL}(\.{LABEL})+")


def theirs(field: str, raw: str, *, digest: bool = True) -> str | None:
    """Return *raw* as Meta's client sends it, or `REFUSED` where the client raises."""
    try:
        built: str | None = Normalize.normalize(field, raw, digest)
    except (TypeError, ValueError):
        return REFUSED
    return built


def is_letters(raw: str, *other_categories: str) -> bool:
    """Return whether *raw* has only letters, their marks and characters of *other_categories*."""
    return all(
        (unicodedata.category(char)[0] in ("L", "M", *other_categories) and char not in TYPED)
        for char in raw
    )


def is_a_date(raw: str) -> bool:
    try:
        born = datetime.strptime(raw, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return False
    return len(raw) == 8 and date(1900, 1, 1) <= born <= datetime.now(UTC).date()


def is_a_zip(raw: str) -> bool:
    """Return whether *raw* has no dash, more than one character, and is not a ZIP+4."""
    bare = re.sub(r"\s", "", raw)
    odd = any(
        unicodedata.category(char)[0] in "ZCM" or unicodedata.category(char) == "Pd"
        for char in bare
    )
    return not odd and len(bare) > 1 and not (len(bare) == 9 and bare.isdecimal())


def has_other_digits(raw: str) -> bool:
    return any(char.isdecimal() and not char.isascii() for char in raw)


class Difference(NamedTuple):
    """A difference between this library and Meta's client.

    Attributes:
        fields: Meta's names of the fields.
        reason: the rule of Meta's documentation.
        example: a value that differs.
        applies: returns whether a value, trimmed and in lower case, differs.
    """

    fields: tuple[str, ...]
    reason: str
    example: str
    applies: Callable[[str], bool]


DIFFERENCES = [
    Difference(
        FIELDS + OLDER,
        "a blank value is left out, never hashed",
        "  ",
        lambda text: not text,
    ),
    Difference(
        ("ct", "st"),
        "a value without a usable character is left out",
        "42",
        lambda text: not re.sub(r"[0-9.\s\-()]", "", text),
    ),
    Difference(
        FIELDS + OLDER,
        "the digest of nothing, and hex that is not a digest, identify nobody",
        "ab" * 20,
        lambda text: re.fullmatch("[0-9a-f]{32,}", text) is not None,
    ),
    Difference(
        FIELDS + OLDER,
        "accents written as separate marks are joined, so that one name has one hash",
        "jose\u0301@eg.com",
        lambda text: unicodedata.normalize("NFC", text) != text,
    ),
    Difference(
        ("em",),
        "one address and nothing else; Meta's client takes all that has an @ and a dot",
        "a@eg.com, b@eg.com",
        lambda text: ADDRESS.fullmatch(text) is None,
    ),
    Difference(
        ("ph",),
        "at most 15 digits: no longer number exists (ITU-T E.164)",
        "+49 170 1234567 1234567",
        lambda text: sum(map(str.isdecimal, text)) > 15,
    ),
    Difference(
        ("ph", "zp", "db"),
        "digits of other scripts become those of ASCII",
        "４９１７０１２３４５６７",
        has_other_digits,
    ),
    Difference(
        ("fn", "ln"),
        "no punctuation, blanks or symbols in names",
        "o'neil",
        lambda text: not is_letters(text, "N"),
    ),
    Difference(
        ("ct", "st"),
        "letters only; Meta's client takes out digits, blanks, dots, dashes and parentheses",
        "st. john's",
        lambda text: not is_letters(re.sub(r"[0-9.\s\-()]", "", text)),
    ),
    Difference(
        ("st",),
        "two letters for the states of the US and Canada",
        "california",
        lambda text: len(normalise("st", text) or "") == 2,
    ),
    Difference(
        ("zp",),
        "US codes are cut to five digits, others lose their dash; a single letter is not a code",
        "01310-100",
        lambda text: not is_a_zip(text),
    ),
    Difference(
        ("db",),
        "YYYYMMDD; Meta's client hashes a date as it is written",
        "02/03/1990",
        lambda text: not is_a_date(text),
    ),
    Difference(
        ("dobd", "dobm"),
        "two digits",
        "007",
        lambda text: re.fullmatch("[0-9]{1,2}", text) is None,
    ),
    Difference(
        ("doby",),
        "from 1900 to this year",
        "1812",
        lambda text: not "1900" <= text <= str(datetime.now(UTC).year),
    ),
]


def differences(field: str, raw: str) -> list[Difference]:
    text = raw.lower().strip()
    return [item for item in DIFFERENCES if field in item.fields and item.applies(text)]


letters = st.text(st.characters(categories=["L"]), min_size=1, max_size=12)
digits = st.text("0123456789", min_size=1, max_size=17)
typed = {
    "em": st.emails() | st.builds("{}@{}.com".format, letters, letters),
    "ph": st.from_regex(r"\+?[0-9 ()-]{5,20}", fullmatch=True) | digits,
    "fn": letters | st.builds("{} {}".format, letters, letters),
    "ln": letters | st.builds("{}-{}".format, letters, letters),
    "ct": letters | st.builds("{} ({})".format, letters, letters),
    "st": letters | st.sampled_from(["CA", "ca", "New York", "Québec", "us-ca", "Bayern"]),
    "zp": digits | st.builds("{}-{}".format, digits, digits) | st.just("SW1A 1AA"),
    "country": st.sampled_from(["us", "US", " de ", "u.s.", "Germany", "XK", "zz", "uk"]),
    "db": st.dates().map(lambda day: day.strftime("%Y%m%d")) | st.dates().map(str),
    "dobd": st.integers(0, 40).map(str),
    "dobm": st.integers(0, 20).map(str),
    "doby": st.integers(1890, 2040).map(str),
}
texts = st.text(max_size=20) | st.text("abcdef0123456789", min_size=30, max_size=66)


@st.composite
def values(draw):
    field = draw(st.sampled_from(FIELDS + OLDER))
    return field, draw(typed.get(field, letters) | texts)


@settings(max_examples=examples(1000))
@given(values())
@example(("country", "Åland Islands"))
@example(("zp", "SW1A 1AA"))
@example(("st", "new york state"))
@example(("ct", "saint-étienne (42)"))
def test_unlisted_value_has_metas_own_hash(value):
    field, raw = value
    wire = theirs(field, raw)

    # Meta's client loses the whole request if it refuses a value; here it is left out or fixed.
    if wire != REFUSED and not differences(field, raw):
        assert hashed(field, raw) == wire


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.reason)
def test_listed_value_differs_from_metas_own_hash(difference):
    for field in difference.fields:
        wire = theirs(field, difference.example)
        if wire not in (REFUSED, None):
            assert difference in differences(field, difference.example)
            assert hashed(field, difference.example) != wire
            return
    pytest.fail("Meta's client refuses the example")


@pytest.mark.parametrize(
    ("field", "raw", "fixed"),
    [
        ("country", "Germany", "de"),
        ("ph", "+1.650.555.1212", "16505551212"),
        ("ph", "call me", None),
        ("em", "nobody", None),
        ("country", "zz", None),
        ("dobd", "40", None),
    ],
)
def test_value_that_meta_refuses_is_fixed_or_left_out(field, raw, fixed):
    assert theirs(field, raw) == REFUSED
    assert normalise(field, raw) == fixed


def replayable(case):
    return isinstance(case["raw"], str) and case["field"] in FIELDS + OLDER


@pytest.mark.parametrize("case", [*filter(replayable, CASES)], ids=lambda case: case["id"])
def test_recorded_answers_are_those_of_the_installed_client(case):
    field, raw, recorded = case["field"], case["raw"], case["sdk"]

    built = theirs(field, raw, digest=False)
    if recorded["error"]:
        assert built == REFUSED
    else:
        assert built == recorded["normalized"]
