"""Requests, responses, and how their headers and bodies are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import DecodeError
from anytrack_async.transport.message import (
    Request,
    Response,
    parse_json,
    parse_retry_after,
)

REQUEST = Request("meta", "POST", "https://a.test/me?q=secret", {"Token": "secret"}, b"secret")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def response(content: bytes = b"{}", status: int = 200, **headers: str) -> Response:
    return Response(
        service="anytrack", status=status, headers=httpx.Headers(headers), content=content
    )


def test_the_repr_of_a_request_shows_no_url_header_or_body():
    assert "secret" not in repr(REQUEST)
    assert "meta" in repr(REQUEST)


def test_a_response_knows_its_service_and_the_body_of_its_request():
    built = REQUEST.build_response(200, {}, b"ok")

    assert (built.request_content, built.service, built.content) == (b"secret", "meta", b"ok")
    assert "secret" not in repr(built)
    assert REQUEST._replace(content=None).build_response(200, {}, b"").request_content == b""


# Responses


def test_response_headers_are_case_insensitive():
    assert response(**{"X-Request-ID": "abc"}).headers["x-REQUEST-id"] == "abc"


@pytest.mark.parametrize(
    ("status", "success"), [(199, False), (200, True), (299, True), (300, False)]
)
def test_any_2xx_is_a_success(status: int, success: bool):
    assert response(status=status).success is success


def test_retry_after_is_read_from_the_headers():
    assert response(**{"Retry-After": "3"}).retry_after == 3.0
    assert response().retry_after is None


def test_a_json_body_is_parsed():
    assert response(b'{"data": [1]}').json() == {"data": [1]}


def test_the_error_for_another_body_does_not_quote_it():
    with pytest.raises(DecodeError) as caught:
        response(b"<h1>ada@example.com</h1>", 502).json()

    assert str(caught.value) == "anytrack: the response (status 502, 24 bytes) is not JSON"
    assert caught.value.__cause__ is None


def test_the_repr_of_a_response_shows_no_header_or_body():
    assert "secret" not in repr(response(b"secret", **{"Set-Cookie": "secret"}))


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"null", b'"text"'])
def test_a_body_that_is_no_object_reads_as_an_empty_one(content):
    assert response(content).json_object() == {}
    assert response(b'{"a": 1}').json_object() == {"a": 1}


# Retry-After


def seconds_of(value: str) -> float | None:
    return parse_retry_after(httpx.Headers({"Retry-After": value}), NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("-3", 0.0),
        ("7, 9", 7.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30.0),
        ("Thu, 01 Jan 2026 14:00:30 +0200", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 99 Jan 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None):
    assert seconds_of(value) == seconds


def test_without_the_header_there_is_no_wait():
    assert parse_retry_after({}) is None


@given(st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(UTC)))
def test_a_date_gives_the_seconds_until_then(moment: datetime):
    moment = moment.replace(microsecond=0)

    seconds = seconds_of(format_datetime(moment, usegmt=True))

    assert seconds == max((moment - NOW).total_seconds(), 0.0)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_malformed_retry_after_never_raises(value: str):
    seconds = parse_retry_after({"retry-after": value})

    assert seconds is None or seconds >= 0


def test_a_date_is_compared_with_the_present_by_default():
    seconds = parse_retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"})

    assert seconds is not None
    assert seconds > 1e9


def test_a_date_is_compared_with_the_servers_own():
    headers = {
        "retry-after": "Thu, 01 Jan 2026 12:00:30 GMT",
        "date": "Thu, 01 Jan 2026 12:00:00 GMT",
    }

    assert parse_retry_after(headers) == 30.0
    assert parse_retry_after(headers | {"date": "soon"}) == 0.0


# Lenient JSON


def test_an_object_with_a_broken_value_is_read():
    assert response(rb'{"x": "\ud83d"}').json_object() == {"x": "\ufffd"}


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b'"\xff"', b"[" * 200_000, b"nan", b'"\\ud83d', b"[" * 5_000 + b"]" * 5_001],
)
def test_what_is_not_json_is_an_error(content: bytes):
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        parse_json(content)


def deep(levels: int) -> str:
    return "[" * levels + '"]"' + "]" * levels


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, 2**64 + 1, -(2**63) - 1, 10**4_299])
def test_an_integer_is_exact(number: int):
    assert parse_json(f'{{"id": {number}, "x": 0.5}}'.encode()) == {"id": number, "x": 0.5}


def test_an_integer_that_python_refuses_is_text():
    digits = "9" * 4_301

    assert parse_json(f'{{"a": {digits}, "b": [-{digits}]}}'.encode()) == {
        "a": digits,
        "b": [f"-{digits}"],
    }


def test_text_with_many_digits_is_read_as_it_is():
    text = "1" * 25 + ' "quoted" \\ \n \U0001f600'

    assert parse_json(json.dumps({"id": text}).encode()) == {"id": text}


@pytest.mark.parametrize("levels", [1_025, 5_000, 100_000])
def test_what_is_nested_too_deeply_becomes_none(levels: int):
    content = f'{{"a": {deep(levels)}, "b": [1, {{"c": "]"}}]}}'.encode()

    body = parse_json(content)

    assert body["b"] == [1, {"c": "]"}]
    assert levels_of(body["a"]) == (299, None)  # the object around it is the first level


def levels_of(value: Any) -> tuple[int, Any]:
    depth = 0
    while isinstance(value, list):
        value, depth = value[0], depth + 1
    return depth, value


def test_what_every_python_could_read_is_cut_off_too():
    body = parse_json(f'{{"a": {deep(400)}, "b": NaN}}'.encode())

    assert levels_of(body["a"]) == (299, None)


@given(st.integers(1, 250))
def test_a_depth_that_python_can_read_is_kept(levels: int):
    assert parse_json(deep(levels).encode()) == json.loads(deep(levels))


# Replies


@pytest.mark.parametrize("value", ["[]", "{}", "0", "NaN", '"\\ud800"', "1" * 4_000, '{"a":0}'])
def test_a_reply_of_too_many_values_is_no_json(value: str):
    reply = Response(200, {}, f"[{','.join([value] * (900_000 // len(value)))}]".encode())

    assert reply.json_object() == {}
    with pytest.raises(DecodeError, match="is not JSON"):
        reply.json()


def test_the_reply_to_the_largest_batch_is_read():
    fields = {f"property_{number}": "value, with commas" for number in range(50)}
    body = {"results": [{"id": str(number), "properties": fields} for number in range(100)]}

    assert Response(200, {}, json.dumps(body).encode()).json() == body
