from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.transport.redact import MASK, hide, quotable, safe_text


@pytest.mark.parametrize(
    "private",
    [
        "ada.lovelace@example.com",
        "Ada+shop@sub.example.co.uk",
        "ada%40example.com",
        "josé@exämple.de",
        "+44 20 7946 0958",
        "(030) 123-45678",
        "4111 1111 1111 1111",
        "20260101123",
        "203.0.113.7",
        "2001:db8:85a3::8a2e:370:7334",
        "Bearer abc",
        "pat-eu1-2c4a1b0e-11ee-4f6f-9a5a",
        "EAABsbCS1iHgBAKZCZBqwZDZDabcdefghijkl",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "fb.1.1554763741205.AbCdEfGhIjKlMnOpQrStUvWxYz1234567890",
    ],
)
def test_what_may_be_private_is_masked(private: str):
    told = safe_text(f"The value {private} is not valid")

    assert private not in told
    assert told == f"The value {MASK} is not valid" or MASK in told
    assert told.startswith("The value ")
    assert told.endswith(" is not valid")


@pytest.mark.parametrize("private", ["ada@example.com", "+49 170 1234567", "abcdefghij1234567890"])
@pytest.mark.parametrize(
    "frame", ["field_1={}", "'{}'", '"{}"', "email={}", "email:{}", "({})", "{},", "<{}>"]
)
def test_private_parts_are_found_between_punctuation(private: str, frame: str):
    assert private not in safe_text("got " + frame.format(private))


@pytest.mark.parametrize(
    "useful",
    [
        "Missing click_id, ref_id and email",
        "click_id is unknown",
        "revenue must be >= 0",
        'Property "anytrack_campaign_id" does not exist',
        "order 12345 is a duplicate",
        "hs_analytics_source_data_1 is read-only",
        "connection failed: [Errno 111] Connection refused",
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)",
    ],
)
def test_what_helps_is_kept(useful: str):
    assert safe_text(useful) == useful


def test_the_query_of_a_url_is_masked():
    assert safe_text("see https://api.test/x?a=1&b=2 now") == f"see https://api.test/x?{MASK} now"


def test_it_is_one_short_line():
    told = safe_text("a\r\nb\x00\tc " + "long " * 100)

    assert told.startswith("a b c long")
    assert len(told) == 200
    assert told.endswith("…")


@pytest.mark.parametrize("part", ["a", "a_", "a.b%4", "1 ", "1:", "_a1", "?x", "a-", "A1/"])
def test_no_text_takes_long(part: str):
    started = time.perf_counter()
    for _ in range(10):
        safe_text(part * 5_000)

    assert time.perf_counter() - started < 0.2


@given(st.emails(), st.text(max_size=30))
def test_no_e_mail_address_survives(address: str, around: str):
    assert address not in safe_text(f"{around} {address} {around}")


@given(st.from_regex(r"\+?[0-9]([ .-]?[0-9]){6,14}", fullmatch=True))
def test_no_phone_number_survives(number: str):
    assert number not in safe_text(f"phone {number} is taken")


@given(st.text(), st.integers(1, 300))
def test_any_text_is_cut_and_never_raises(text: str, longest: int):
    assert len(safe_text(text, longest)) <= longest


def test_what_was_sent_is_hidden_wherever_it_stands():
    sent = b'{"click_id": "zqclick", "custom_data": {"notes": ["zqnote", "no"]}, "order_id": "o-7"}'
    words = "order o-7: zqclick has no notes 'zqnote'"

    assert hide(words, quotable(sent)) == f"order o-7: {MASK} has no notes '{MASK}'"


@pytest.mark.parametrize("sent", [b"", b"grant_type=refresh_token", b"7", b"[null]"])
def test_nothing_is_quotable_without_texts_in_json(sent):
    assert quotable(sent) == []
