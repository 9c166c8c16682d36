from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async import errors
from anytrack_async.errors import ServiceError
from anytrack_async.transport.errors import (
    ErrorBody,
    quotable_texts,
    read_error_body,
    redact,
    safe_text,
    service_error,
)
from anytrack_async.transport.message import Response
from anytrack_async.transport.secrets import MASK


def response(body: Any, status: int = 400, **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(
        service="anytrack", status=status, headers=httpx.Headers(headers), content=content
    )


REFUSED = {
    "status": "error",
    "code": "invalid_click",
    "message": "click_id is unknown",
    "request_id": "req_1",
}


def test_the_error_body_of_anytrack_is_read():
    assert read_error_body(response(REFUSED)) == ErrorBody(
        message="click_id is unknown", code="invalid_click", request_id="req_1"
    )


def test_the_request_id_of_the_header_comes_first():
    error_body = read_error_body(response(REFUSED, **{"X-Request-ID": "req_2"}))

    assert error_body.request_id == "req_2"


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "no such field", "code": 100}}, "no such field", "100"),
        ({"error": "no such field"}, "no such field", None),
        ({"error": {"message": "inner"}, "message": "outer", "code": "x"}, "inner", "x"),
        ({"error": {}, "message": "outer"}, "outer", None),
        ({"message": ["not", "text"]}, "Bad Request", None),
        ({"message": ""}, "Bad Request", None),
        ([], "Bad Request", None),
        ([{"message": "no such field"}], "no such field", None),
        ({"errors": [{"detail": "no such field"}, {}]}, "no such field", None),
        ({"errors": {"a": ["is wrong"]}}, "a: is wrong", None),
        ({"errors": ["is wrong"]}, "is wrong", None),
        ({"detail": [{"loc": ["body", "a"], "msg": "no"}]}, "body.a: no", None),
        ({"type": "about:blank", "title": "Invalid", "detail": "a is wrong"}, "a is wrong", None),
        ({"title": "Invalid", "errors": [[[[[]]]]]}, "Invalid", None),
        ({"error": [{"message": "no"}]}, "no", None),
        (b"<html>", "Bad Request", None),
        (b"", "Bad Request", None),
        ({"code": True}, "Bad Request", "True"),
        ({"code": {"a": 1}}, "Bad Request", None),
        ({"code": "ada@example.com"}, "Bad Request", None),
        ({"code": "two words"}, "Bad Request", None),
        ({"code": "x" * 129}, "Bad Request", None),
    ],
)
def test_other_error_bodies_are_read_as_far_as_possible(body: Any, message: str, code: str | None):
    assert read_error_body(response(body)) == ErrorBody(message=message, code=code)


def test_personal_data_in_the_message_is_masked():
    error_body = read_error_body(response({"message": "ada@example.com is no lead"}))

    assert error_body.message == "*** is no lead"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.RejectedError),
        (400, errors.RejectedError),
        (401, errors.CredentialsError),
        (403, errors.CredentialsError),
        (404, errors.NotFoundError),
        (408, errors.ServerError),
        (410, errors.NotFoundError),
        (422, errors.RejectedError),
        (425, errors.ServerError),
        (429, errors.RateLimitedError),
        (500, errors.ServerError),
        (503, errors.ServerError),
        (599, errors.ServerError),
    ],
)
def test_the_status_gives_the_class_of_the_error(status: int, kind: type[ServiceError]):
    assert type(service_error(response(REFUSED, status))) is kind


def test_the_error_has_every_detail_of_the_response():
    error = service_error(response(REFUSED, 429, **{"Retry-After": "7"}))

    assert (error.service, error.status, error.retry_after) == ("anytrack", 429, 7.0)
    assert (error.code, error.request_id) == ("invalid_click", "req_1")
    assert str(error).startswith("anytrack: click_id is unknown (status 429")


@pytest.mark.parametrize(
    ("status", "words"), [(302, "check base_url"), (599, "unknown error"), (502, "Bad Gateway")]
)
def test_without_a_message_the_status_gives_one(status: int, words: str):
    assert words in read_error_body(response(b"", status)).message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "errors", "message", "code", "request_id", "loc"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ),
    st.integers(300, 599),
)
def test_no_body_raises(body: Any, status: int):
    error_body = read_error_body(response(body, status))

    assert error_body.message


# Redaction


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
def test_private_data_is_masked(private: str):
    line = safe_text(f"The value {private} is not valid")

    assert private not in line
    assert line == f"The value {MASK} is not valid" or MASK in line
    assert line.startswith("The value ")
    assert line.endswith(" is not valid")


@pytest.mark.parametrize("private", ["ada@example.com", "+49 170 1234567", "abcdefghij1234567890"])
@pytest.mark.parametrize(
    "frame", ["field_1={}", "'{}'", '"{}"', "email={}", "email:{}", "({})", "{},", "<{}>"]
)
def test_private_data_between_punctuation_is_masked(private: str, frame: str):
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
def test_helpful_text_is_kept(useful: str):
    assert safe_text(useful) == useful


def test_the_query_of_a_url_is_masked():
    assert safe_text("see https://api.test/x?a=1&b=2 now") == f"see https://api.test/x?{MASK} now"


def test_safe_text_is_one_short_line():
    line = safe_text("a\r\nb\x00\tc " + "long " * 100)

    assert line.startswith("a b c long")
    assert len(line) == 200
    assert line.endswith("…")


@pytest.mark.parametrize("part", ["a", "a_", "a.b%4", "1 ", "1:", "_a1", "?x", "a-", "A1/"])
def test_masking_is_fast_for_any_text(part: str):
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
def test_any_text_is_cut_to_its_maximal_length(text: str, max_length: int):
    assert len(safe_text(text, max_length)) <= max_length


def test_texts_of_the_request_are_redacted_everywhere():
    sent = b'{"click_id": "zqclick", "custom_data": {"notes": ["zqnote", "no"]}, "order_id": "o-7"}'
    words = "order o-7: zqclick has no notes 'zqnote'"

    assert redact(words, quotable_texts(sent)) == f"order o-7: {MASK} has no notes '{MASK}'"


@pytest.mark.parametrize("sent", [b"", b"grant_type=refresh_token", b"7", b"[null]"])
def test_a_request_body_without_json_texts_has_nothing_to_redact(sent):
    assert quotable_texts(sent) == []
