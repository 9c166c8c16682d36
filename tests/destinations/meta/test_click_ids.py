"""fbc and fbp: from click ids, pages and cookies, as Meta's parameter builder makes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.meta.click_ids import (
    fbc,
    fbclid_of,
    valid_cookie,
)

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data/meta/fbc_cases.jsonl").read_text().splitlines()
]
SEEN_AT = datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
EIGHT_CHARACTERS = 8


def _without_marker(cookie):
    """Take off the builder's own marker; one that came with the cookie stays."""
    head, _, last = (cookie or "").rpartition(".")
    return head if len(last) == EIGHT_CHARACTERS and last.startswith("AQ") else cookie


def _ours(case):
    """Answer as a server would with this module: a new click first, else the cookie."""
    url = f"https://{case['host']}/?{urlencode(case['query'], doseq=True)}"
    fbclid = fbclid_of(url, case["referer"])
    if fbclid is None:
        return valid_cookie(case["cookies"].get("_fbc"))
    seen_at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=case["now_ms"])
    return fbc(fbclid, seen_at, index=0 if case["host"].startswith("localhost") else 1)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["query"] != {"fbclid": [""]}], ids=str
)
def test_fbc_equals_that_of_metas_builder_without_its_marker(case):
    assert _ours(case) == _without_marker(case["fbc"])


def test_empty_click_id_makes_no_fbc_though_metas_builder_makes_one():
    (case,) = (case for case in CASES if case["query"] == {"fbclid": [""]})

    assert _without_marker(case["fbc"]) == "fb.1.1700000000123."
    assert _ours(case) is None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cookies_of_metas_builder_are_kept_unchanged(case):
    built = [value for value in (case["fbc"], case["fbp"]) if value and ".." not in value]

    assert [valid_cookie(value) for value in built] == built


def test_milliseconds_are_exact_in_any_time_zone():
    elsewhere = SEEN_AT.astimezone(timezone(timedelta(hours=-7)))

    assert fbc("AbC", SEEN_AT) == fbc("AbC", elsewhere) == "fb.1.1700000000123.AbC"


@pytest.mark.parametrize("fbclid", ["", " ", "a.b", "a\nb", "a\0", "\ud800"])
def test_unusable_click_id_is_refused(fbclid):
    with pytest.raises(ValueError, match="fbclid"):
        fbc(fbclid, SEEN_AT)


@pytest.mark.parametrize(
    "seen_at", [SEEN_AT.replace(tzinfo=None), datetime(1969, 12, 31, tzinfo=UTC)]
)
def test_time_without_zone_or_before_1970_is_refused(seen_at):
    with pytest.raises(ValueError, match="seen_at"):
        fbc("AbC", seen_at)


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        5,
        "",
        "garbage",
        "AbC",
        "fb.1.AbC",
        "fb.1.1554763741205",
        "fb.1.1554763741205.",
        "fb.x.1554763741205.AbC",
        "fb.1.yesterday.AbC",
        "FB.1.1554763741205.AbC",
        "fb.1.1554763741205.AbC.D",
        "fb.1.1554763741205.AbC.Ag.Ag",
        "fb.1.1554763741205.AbC\n",
        "fb.1.١٥٥٤٧٦٣٧٤١٢٠٥.AbC",
    ],
)
def test_malformed_value_is_dropped(malformed):
    assert valid_cookie(malformed) is None


@pytest.mark.parametrize(
    ("urls", "fbclid"),
    [
        (("https://example.com/?a=1&fbclid=IwAR2F4-dbP0l7Mn_x#top",), "IwAR2F4-dbP0l7Mn_x"),
        (("https://example.com/?fbclid=ONE&fbclid=TWO",), "ONE"),
        (("https://example.com/?fbclid=NEW", "https://l.facebook.com/?fbclid=OLD"), "NEW"),
        (("https://example.com/", "https://l.facebook.com/?fbclid=REF"), "REF"),
        (("https://example.com/?fbclid=", "https://l.facebook.com/?fbclid=REF"), "REF"),
        (("/landing?fbclid=AbC",), "AbC"),
        (("https://example.com/?xfbclid=AbC",), None),
        (("https://example.com/#fbclid=AbC",), None),
        (("https://[broken/?fbclid=AbC",), None),
        (("https://example.com/?fbclid=%20",), None),
        ((None, ""), None),
        ((), None),
    ],
)
def test_click_id_comes_from_the_first_url_that_has_one(urls, fbclid):
    assert fbclid_of(*urls) == fbclid


@given(st.text())
def test_every_click_id_found_makes_a_valid_fbc(text):
    fbclid = fbclid_of(f"https://example.com/?fbclid={text}")

    if fbclid is not None:
        assert valid_cookie(fbc(fbclid, SEEN_AT)) is not None
