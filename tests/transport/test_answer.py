from __future__ import annotations

import httpx
import pytest

from anytrack_async.errors import DecodeError
from anytrack_async.transport.answer import Answer


def answer(content: bytes = b"{}", status: int = 200, **headers: str) -> Answer:
    return Answer(
        service="anytrack", status=status, headers=httpx.Headers(headers), content=content
    )


def test_headers_are_found_in_any_case():
    assert answer(**{"X-Request-ID": "abc"}).headers["x-REQUEST-id"] == "abc"


@pytest.mark.parametrize(
    ("status", "success"), [(199, False), (200, True), (299, True), (300, False)]
)
def test_any_2xx_is_a_success(status: int, success: bool):
    assert answer(status=status).success is success


def test_the_wait_asked_for_is_read():
    assert answer(**{"Retry-After": "3"}).retry_after == 3.0
    assert answer().retry_after is None


def test_json_is_parsed():
    assert answer(b'{"data": [1]}').json() == {"data": [1]}


def test_other_bodies_are_named_but_not_shown():
    with pytest.raises(DecodeError) as caught:
        answer(b"<h1>ada@example.com</h1>", 502).json()

    assert str(caught.value) == "anytrack: the answer (status 502, 24 bytes) is not JSON"
    assert caught.value.__cause__ is None


def test_the_repr_shows_neither_headers_nor_content():
    assert "secret" not in repr(answer(b"secret", **{"Set-Cookie": "secret"}))


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"null", b'"text"'])
def test_anything_but_an_object_is_read_as_an_empty_one(content):
    assert Answer(status=200, headers={}, content=content).object() == {}
    assert Answer(status=200, headers={}, content=b'{"a": 1}').object() == {"a": 1}
