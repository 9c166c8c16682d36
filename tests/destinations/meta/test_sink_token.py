"""`MetaSink`: its token, and what messages never show."""

import logging

import orjson
import pytest

from anytrack_async.destinations.sink import (
    NeedsOperator,
)
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.customer import Customer

pytestmark = pytest.mark.asyncio


async def test_new_token_is_used_from_the_next_request_on(sink_of, wire, conversion):
    sink = sink_of(app_secret="s3cret")
    await sink.deliver([conversion()])
    sink.use_token("n3w")
    await sink.deliver([conversion()])

    assert [request.headers["authorization"] for request in wire.requests] == [
        "Bearer t0ken",
        "Bearer n3w",
    ]
    proofs = [wire.body(n)["appsecret_proof"] for n in range(2)]
    assert proofs == [
        "d0f8abfce5e9c8e5c0b6446d31e29359768d9916db08c6a94ca7b481a4eeac2c",
        "dfd58ea577f80e0a77ed37e2dc2184331cc3bbd1f939caa1f689b415569aa121",
    ]


async def test_new_token_is_proven_by_each_request_that_carries_it(sink_of, wire, conversion):
    """Also by requests encoded before: Meta refuses a token with the proof of another token."""
    sink = sink_of(app_secret="s3cret", max_bytes=1)

    def replace_token(request):
        sink.use_token("n3w")
        return wire.success(request)

    wire.replies = [replace_token]
    assert len(await sink.deliver([conversion(n) for n in range(2)])) == 2

    first, second = (wire.body(n)["appsecret_proof"] for n in range(2))
    assert wire.requests[1].headers["authorization"] == "Bearer n3w"
    assert first != second


async def test_invalid_token_is_refused_and_the_old_one_stays(sink_of, wire, conversion):
    sink = sink_of()
    with pytest.raises(ConfigurationError):
        sink.use_token("")
    await sink.deliver([conversion()])

    assert wire.requests[0].headers["authorization"] == "Bearer t0ken"


async def test_no_secret_and_no_customer_data_in_messages(
    sink_of, wire, conversion, graph_error, caplog
):
    caplog.set_level(logging.DEBUG)
    wire.replies = [graph_error(190, 463, message="Token t0ken of jane1@example.com", status=401)]
    sink = sink_of(app_secret="s3cret")
    with pytest.raises(NeedsOperator) as caught:
        await sink.deliver([conversion(1, customer=Customer(email="jane1@example.com"))])

    shown = f"{caught.value!r} {caught.value} {caplog.text} {sink!r}"
    assert "jane1" not in shown
    assert "s3cret" not in shown
    assert b"t0ken" not in wire.requests[0].url.raw_path
    assert b"t0ken" not in wire.requests[0].content
    assert orjson.loads(wire.requests[0].content)["data"]
