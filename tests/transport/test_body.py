from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.settings.http import ResponseLimits
from anytrack_async.transport.body import BodyReader
from anytrack_async.transport.message import LimitExceeded, Request

pytestmark = pytest.mark.asyncio

LIMITS = ResponseLimits(max_body=200_000, max_reply=100_000)
TEXT = b'{"data": [1, 2, 3]}' * 1_000
NO_MEMBER = gzip.compress(b"")


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw": raw_deflate,
}


def reader(method: str = "GET", status: int = 200, **headers: str) -> BodyReader:
    request = Request("anytrack", method, "https://api.test/a", {})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return BodyReader(request, status, httpx.Headers(names), LIMITS)


async def read(data: bytes, size: int = 65_536, **headers: str) -> bytes:
    body = reader(**headers)
    for start in range(0, len(data), size):
        await body.add(data[start : start + size])
    return body.content()


async def test_an_uncompressed_body_is_the_same_object():
    assert await read(TEXT) is TEXT


@pytest.mark.parametrize("size", [1, 2, 1_000, 65_536])
@pytest.mark.parametrize("name", CODINGS)
async def test_a_compressed_body_is_decompressed_however_it_arrives(name: str, size: int):
    coding = "deflate" if name == "raw" else name

    assert await read(CODINGS[name](TEXT), size, content_encoding=coding) == TEXT


@given(st.lists(st.sampled_from(["gzip", "deflate"]), max_size=4), st.binary(max_size=5_000))
async def test_codings_are_undone_from_the_last_to_the_first(codings: list[str], text: bytes):
    data = text
    for coding in codings:
        data = CODINGS[coding](data)

    assert await read(data, content_encoding=", ".join(codings)) == text


@pytest.mark.parametrize("size", [1, 19, 65_536])
async def test_a_gzip_body_may_have_several_members_and_padding(size: int):
    members = gzip.compress(b"[1,") + NO_MEMBER + gzip.compress(b"2]") + bytes(10)

    assert await read(members, size, content_encoding="x-gzip") == b"[1,2]"


@pytest.mark.parametrize("coding", ["identity", "utf-8", ""])
async def test_an_unknown_coding_is_ignored(coding: str):
    assert await read(TEXT, content_encoding=coding) == TEXT


@pytest.mark.parametrize("coding", ["br", "gzip, zstd", "gzip, gzip, gzip, gzip, gzip"])
async def test_a_coding_that_cannot_be_undone_is_an_error(coding: str):
    with pytest.raises(httpx.DecodingError):
        reader(content_encoding=coding)


@pytest.mark.parametrize("data", [TEXT, gzip.compress(TEXT)[:-1], gzip.compress(TEXT)[:1]])
async def test_a_body_that_is_not_compressed_as_declared_is_an_error(data: bytes):
    with pytest.raises(httpx.DecodingError):
        await read(data, content_encoding="gzip")


@pytest.mark.parametrize("status", [302, 401, 429, 503])
@pytest.mark.parametrize(
    ("coding", "data"), [("br", b"\x0b"), ("gzip", TEXT), ("gzip", gzip.compress(TEXT)[:-1])]
)
async def test_a_failure_is_worth_its_status_without_its_body(
    coding: str, data: bytes, status: int
):
    body = reader("POST", status, content_encoding=coding)
    for _ in range(2):
        await body.add(data)

    assert body.content() == b""
    with pytest.raises(LimitExceeded):
        await body.add(bytes(100_000))


@pytest.mark.parametrize(("method", "status"), [("GET", 204), ("GET", 304), ("HEAD", 200)])
async def test_a_response_without_body_may_describe_one(method: str, status: int):
    body = reader(method, status, content_length="999999999", content_encoding="gzip")

    assert body.content() == b""


@pytest.mark.parametrize(
    ("method", "status", "setting", "limit"),
    [
        ("GET", 200, "max_body", 200_000),
        ("GET", 500, "max_reply", 100_000),
        ("POST", 200, "max_reply", 100_000),
    ],
)
async def test_a_body_is_limited_by_what_it_answers(
    method: str, status: int, setting: str, limit: int
):
    body = reader(method, status, content_length=str(limit))
    await body.add(bytes(limit))
    with pytest.raises(LimitExceeded) as caught:
        await body.add(b"x")

    assert (caught.value.setting, caught.value.limit) == (setting, limit)


async def test_a_body_that_is_announced_too_large_is_not_read():
    with pytest.raises(LimitExceeded):
        reader(content_length="200001")


@pytest.mark.parametrize("length", ["", "-1", "+5", "5, 5", "9" * 5_000])
async def test_a_length_that_is_none_announces_nothing(length: str):
    assert reader(content_length=length).content() == b""


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("times", [1, 2])
async def test_a_body_is_cut_off_as_soon_as_it_is_too_large_decompressed(name: str, times: int):
    data = bytes(3_000_000)
    for _ in range(times):
        data = CODINGS[name](data)
    coding = ", ".join(times * ["deflate" if name == "raw" else name])
    body = reader(content_encoding=coding)
    added = 0
    with pytest.raises(LimitExceeded):
        for byte in data:
            await body.add(bytes([byte]))
            added += 1

    assert added < len(data) * 0.9


async def test_bytes_between_two_codings_count_as_well():
    members = NO_MEMBER * 20_000  # 400 kB, which decompress to nothing

    with pytest.raises(LimitExceeded):
        await read(gzip.compress(members), content_encoding="gzip, gzip")


async def test_pieces_of_any_size_are_put_together():
    pieces = [b"a", b"b" * 2_000, b"c", b"d", b"e" * 2_000, b"f" * 1_023, b"g"]
    body = reader()
    for piece in pieces:
        await body.add(piece)

    assert body.content() == b"".join(pieces)


@pytest.mark.parametrize(
    ("coding", "data"),
    [("gzip", NO_MEMBER * 5_000), ("identity", bytes(5_000))],
    ids=["empty members", "small pieces"],
)
async def test_many_steps_leave_the_loop_to_others(coding: str, data: bytes):
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        body = reader(content_encoding=coding)
        size = 1 if coding == "identity" else len(data)
        for start in range(0, len(data), size):
            await body.add(data[start : start + size])
        tasks.cancel_scope.cancel()

    assert turns >= 100
