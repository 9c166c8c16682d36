"""What parsers get to read does not depend on how a response arrives; contract tests have more."""

from __future__ import annotations

import h11
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.settings.http import ResponseLimits
from anytrack_async.transport.filter import ResponseFilter
from anytrack_async.transport.message import LimitExceeded
from tests.transport.raw_responses import ACCEPTED, REFUSED, SURPLUS

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def new(method: str = "GET", **limits: int) -> ResponseFilter:
    response_filter = ResponseFilter(ResponseLimits(**limits))
    response_filter.start(method)
    return response_filter


def feed(data: bytes, size: int = 65_536, method: str = "GET", **limits: int) -> bytes:
    response_filter = new(method, **limits)
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(map(response_filter.feed, pieces))


def content(data: bytes, method: str = "GET") -> bytes:
    """Return the body that h11 reads from *data*."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    parser.receive_data(b"")
    assert isinstance(parser.next_event(), h11.Response)
    body = b""
    while isinstance(event := parser.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert parser.trailing_data[0] == b""
    return body


@pytest.mark.parametrize("size", [1, 2, 3, 7, 65_536])
@pytest.mark.parametrize("name", [*ACCEPTED, *SURPLUS])
def test_a_response_is_read_however_it_arrives(name: str, size: int):
    data = SURPLUS.get(name) or ACCEPTED[name][0]

    assert content(feed(data, size)) == (b"" if b" 204 " in data else b"{}")


@pytest.mark.parametrize("size", [1, 5, 65_536])
@pytest.mark.parametrize("name", [name for name in REFUSED if "end" not in name])
def test_an_invalid_response_is_refused_however_it_arrives(name: str, size: int):
    with pytest.raises((httpx.RemoteProtocolError, h11.RemoteProtocolError)):
        content(feed(REFUSED[name], size))


@given(st.lists(st.binary(min_size=1, max_size=200)), st.integers(1, 100))
def test_chunks_are_put_together(chunks: list[bytes], size: int):
    body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)

    assert content(feed(CHUNKED + body + b"0\r\nX: y\r\n\r\n", size)) == b"".join(chunks)


def test_a_usual_response_passes_as_it_is():
    data = OK + b"Date: x\r\nContent-Length: 2\r\nServer: y\r\n\r\n{}"
    response_filter = new()

    assert response_filter.feed(data) is data
    assert response_filter.body_headers == {}
    assert response_filter.feed(b"x") == b""
    assert response_filter.surplus


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([OK + b"Content-Length: 2\r\n\r\n{}"], True),
        ([OK + b"Content-Length: 2\r\n\r\n", b"{}"], False),
        ([OK + b"Content-Length: 2\r\n\r\n{", b"}"], False),
        ([CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"], False),
    ],
)
def test_a_usual_response_in_one_piece_is_known(pieces: list[bytes], whole: bool):
    response_filter = new()
    for piece in pieces:
        assert not response_filter.ended
        response_filter.feed(piece)

    assert response_filter.ended
    assert response_filter.whole is whole
    response_filter.start("GET")
    assert not response_filter.whole


def test_a_response_to_head_has_no_body():
    response_filter = new("HEAD")

    assert content(response_filter.feed(OK + b"Content-Length: 5\r\n\r\nx"), "HEAD") == b""
    assert response_filter.surplus


def test_the_next_response_is_read_afresh():
    response_filter = new(max_informational=1)
    for _ in range(3):
        response_filter.start("GET")
        data = b"HTTP/1.1 103 E\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}"

        assert content(response_filter.feed(data)) == b"{}"


def test_headers_that_describe_the_body_are_known():
    response_filter = new()
    response_filter.feed(OK + b"CONTENT-ENCODING: gzip\r\nContent-Length: 5, 5\r\n\r\n")

    assert response_filter.body_headers["content-encoding"].strip() == "gzip"
    assert response_filter.body_headers["content-length"] == "5"


# Limits

END = b"Content-Length: 0\r\n\r\n"


def response(headers: bytes) -> bytes:
    return OK + headers + END


@pytest.mark.parametrize("size", [1, 10, 65_536])
@pytest.mark.parametrize(
    ("setting", "limit", "most", "over"),
    [
        (
            "max_head",
            100,
            response(b"X: %b\r\n" % (b"x" * 57)),
            response(b"X: %b\r\n" % (b"x" * 58)),
        ),
        ("max_headers", 5, response(b"a:\r\n" * 4), response(b"a:\r\n" * 5)),
        (
            "max_informational",
            3,
            b"HTTP/1.1 103 E\r\n\r\n" * 3 + response(b""),
            b"HTTP/1.1 103 E\r\n\r\n" * 4 + response(b""),
        ),
        (
            "max_head",  # of the trailers
            100,
            CHUNKED + b"0\r\nX: %b\r\n\r\n" % (b"x" * 85),
            CHUNKED + b"0\r\nX: %b\r\n\r\n" % (b"x" * 110),
        ),
        (
            "max_head",  # of a chunk extension
            100,
            CHUNKED + b"1;%b\r\nx\r\n0\r\n\r\n" % (b"x" * 80),
            CHUNKED + b"1;%b\r\nx\r\n0\r\n\r\n" % (b"x" * 110),
        ),
        (
            "max_head",  # of many chunks
            100,
            CHUNKED + b"1\r\nx\r\n" * 15 + b"0\r\n\r\n",
            CHUNKED + b"1\r\nx\r\n" * 30 + b"0\r\n\r\n",
        ),
    ],
)
def test_a_response_at_its_limit_is_read_and_one_over_it_is_not(
    setting: str, limit: int, most: bytes, over: bytes, size: int
):
    assert content(feed(most, size, **{setting: limit})).strip(b"x") == b""
    with pytest.raises(LimitExceeded) as caught:
        feed(over, size, **{setting: limit})

    assert (caught.value.setting, caught.value.limit) == (setting, limit)
