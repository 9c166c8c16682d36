"""What a `Session` makes of a response, and of none."""

from __future__ import annotations

import gzip
import json
import traceback
from typing import Any

import httpx
import pytest

from anytrack_async import errors
from anytrack_async.errors import (
    DecodeError,
    ResponseLimitError,
    TransportError,
)
from anytrack_async.transport.errors import _LIMITS
from anytrack_async.transport.message import LimitExceeded, TotalTimeout
from tests.transport.wire import QUICK, Wire, failing, responding, session

pytestmark = pytest.mark.asyncio


# Responses


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 429, 500, 503])
async def test_send_returns_any_status_and_sends_once(status: int):
    wire = responding(httpx.Response(status, headers={"Location": "https://evil.test"}))
    response = await session(wire).send("POST", "conversions", content=b"{}")

    assert response.status == status
    assert response.service == "anytrack"
    assert len(wire.requests) == 1


async def test_get_returns_the_json():
    assert await session(Wire()).get("conversions") == {"data": []}


async def test_get_raises_a_decode_error_unless_the_response_is_json():
    wire = responding(httpx.Response(200, content=b"<h1>private</h1>"))

    with pytest.raises(DecodeError) as caught:
        await session(wire).get("conversions")
    assert "private" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, errors.RejectedError),
        (400, errors.RejectedError),
        (401, errors.CredentialsError),
        (404, errors.NotFoundError),
    ],
)
async def test_get_raises_the_error_of_the_status(status: int, kind: type[Exception]):
    wire = responding(httpx.Response(status, json={"message": "no", "request_id": "r1"}))

    with pytest.raises(kind) as caught:
        await session(wire).get("conversions", "1")
    assert type(caught.value) is kind
    assert caught.value.request_id == "r1"
    assert len(wire.requests) == 1


async def test_get_succeeds_after_retries():
    wire = responding(httpx.Response(503), httpx.Response(429), httpx.Response(200, json=[1]))

    assert await session(wire).get("conversions") == [1]


@pytest.mark.parametrize(
    ("status", "kind"), [(429, errors.RateLimitedError), (503, errors.ServerError)]
)
async def test_get_raises_after_the_last_attempt(status: int, kind: type[Exception]):
    wire = Wire(lambda _: httpx.Response(status))

    with pytest.raises(kind):
        await session(wire).get("conversions")
    assert len(wire.requests) == QUICK.retry.attempts


async def test_compressed_responses_are_read_though_none_are_requested():
    packed = httpx.Response(
        200,
        headers={"Content-Encoding": "gzip"},
        content=gzip.compress(b'{"data": 1}'),
    )
    wire = responding(packed)

    assert await session(wire).get("a") == {"data": 1}
    assert wire.last.headers["accept-encoding"] == "identity"


# No response


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (httpx.ConnectError("[Errno 111] no"), "connection to api.test failed: [Errno 111] no"),
        (
            httpx.ConnectError("[Errno 111] Connect call failed ('203.0.113.5', 443)"),
            "connection to api.test failed: Connection refused",
        ),
        (httpx.ConnectTimeout("x"), "no connection to api.test within 30 s"),
        (httpx.ReadTimeout("x"), "no response within 30 s"),
        (TotalTimeout("x"), "no complete response within 120 s"),
        (httpx.WriteTimeout("x"), "no response within 30 s"),
        (
            httpx.PoolTimeout("x"),
            "no free connection within 30 s: increase HttpSettings.connections",
        ),
        (httpx.RemoteProtocolError("x"), "the connection broke off (RemoteProtocolError)"),
        (
            httpx.ConnectError(""),
            "connection to api.test failed: it was closed before it was ready",
        ),
        (
            httpx.ProxyError("502 of user:hunter2"),
            "the proxy refused to connect to api.test (status 502): check its URL and password",
        ),
        (httpx.DecodingError("x"), "the body of the response cannot be decompressed"),
        (ConnectionResetError("x"), "the connection broke off (ConnectionResetError)"),
    ],
)
async def test_without_a_response_a_transport_error_is_raised(failure: Exception, words: str):
    with pytest.raises(TransportError) as caught:
        await session(failing(failure)).send("POST", "conversions", content=b"{}")

    assert str(caught.value) == f"anytrack: {words}"
    assert caught.value.status is None


@pytest.mark.parametrize("setting", [*_LIMITS])
async def test_a_response_over_a_limit_is_an_error_that_names_the_setting(setting: str):
    with pytest.raises(ResponseLimitError) as caught:
        await session(failing(LimitExceeded(setting, 1_000))).send("POST", "conversions")

    assert isinstance(caught.value, TransportError)
    assert str(caught.value).startswith("anytrack: the response ")
    assert "more than 1,000" in str(caught.value) or "larger than 1,000" in str(caught.value)
    assert f"set HttpSettings(limits=ResponseLimits({setting}=…))" in str(caught.value)


async def test_a_read_over_a_limit_is_not_repeated():
    wire = responding(httpx.Response(200, content=bytes(8_388_609)))
    with pytest.raises(ResponseLimitError, match="larger than 8,388,608 bytes"):
        await session(wire).get("conversions")

    assert len(wire.requests) == 1


async def test_the_error_for_an_invalid_header_shows_no_token():
    failure = httpx.LocalProtocolError("Illegal header value b'Bearer old-token'")
    with pytest.raises(TransportError) as caught:
        await session(failing(failure)).send("GET", "a")

    assert "old-token" not in "".join(traceback.format_exception(caught.value))


async def test_no_transport_error_shows_query_token_or_body():
    wire = failing(httpx.ReadError("broken"))
    with pytest.raises(TransportError) as caught:
        await session(wire).send(
            "POST", "a", params={"email": "ada@example.com"}, content=b'{"ip": "private"}'
        )

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    # The traceback quotes this file's own lines; the error itself must not.
    lines = "".join(line for line in shown.splitlines() if "Error" in line and "raise" not in line)
    for secret in ("ada@example.com", "private", "old-token", "api.test"):
        assert secret not in lines


async def test_get_is_retried_without_a_response():
    wire = failing(httpx.ConnectError("refused"))
    with pytest.raises(TransportError):
        await session(wire).get("a")

    assert len(wire.requests) == QUICK.retry.attempts


@pytest.mark.parametrize("document", [[], {}, "text", 1, None])
async def test_get_returns_any_json(document: Any):
    wire = responding(httpx.Response(200, content=json.dumps(document)))

    assert await session(wire).get("a") == document
