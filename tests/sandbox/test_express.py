"""The short way through HTTP."""

from __future__ import annotations

import pytest

from anytrack_async.sandbox import express
from anytrack_async.sandbox.wire import Reply

REQUEST = (
    b"POST /v1/a%20b?x=1&y=2 HTTP/1.1\r\nHost: h\r\nX-Thing:  two words \r\n"
    b"Content-Length: 4\r\n\r\nbodyGET /next HTTP/1.1\r\n\r\n"
)


def test_a_plain_request_is_read():
    held = bytearray(REQUEST)

    head = express.head(held)

    assert isinstance(head, express.Head)
    request = head.request(held)
    assert (request.method, request.path, request.query) == ("POST", "/v1/a b", b"x=1&y=2")
    assert request.header(b"x-thing") == "two words"
    assert request.body == b"body"
    assert held[head.end :].startswith(b"GET /next")


@pytest.mark.parametrize("length", [0, 1, 20, REQUEST.index(b"\r\n\r\n") + 3])
def test_half_a_head_waits_for_the_rest(length):
    assert express.head(bytearray(REQUEST[:length])) == "more"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0",
        b"HEAD / HTTP/1.1",
        b"nonsense",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1\r\nExpect: 100-continue",
        b"GET / HTTP/1.1\r\nConnection: close",
        b"GET / HTTP/1.1\r\nConnection: Upgrade",
        b"POST / HTTP/1.1\r\nContent-Length: many",
        b"POST / HTTP/1.1\r\nContent-Length: -1",
        b"GET /\xff HTTP/1.1",
    ],
)
def test_what_is_not_plain_is_left_to_the_server(head):
    assert express.head(bytearray(head + b"\r\n\r\n")) == "odd"


def test_an_answer_has_its_length_and_the_servers_headers():
    sent = express.answer(Reply(200, b"{}", ((b"a", b"b"),)), [(b"date", b"now")])

    assert sent == b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\na: b\r\n\r\n{}"


def test_a_proxys_status_needs_no_phrase():
    assert express.answer(Reply(524), []).startswith(b"HTTP/1.1 524 \r\n")


def test_an_answer_without_content_has_no_length():
    assert express.answer(Reply(204), []) == b"HTTP/1.1 204 No Content\r\n\r\n"
