from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import DecodeError
from anytrack_async.transport import body
from anytrack_async.transport.answer import Answer
from anytrack_async.transport.body import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FILLING = "x" * 200_000


def answer(content: bytes) -> Answer:
    return Answer(service="anytrack", status=200, headers=httpx.Headers(), content=content)


def big(document: Any, **options: Any) -> bytes:
    return json.dumps(document, **options).encode()


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(max_size=4), VALUES, max_size=3))
@pytest.mark.asyncio
async def test_a_big_list_reads_as_any_parser_would(records: list[Any], rest: dict[str, Any]):
    document = {"data": [*records, FILLING], **{k: v for k, v in rest.items() if k != "data"}}

    assert await read_json(answer(big(document))) == document
    assert await read_json(answer(big(document, indent=1))) == document


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "document", [[FILLING], {"data": {"name": FILLING}}, {"other": FILLING, "data": []}, FILLING]
)
async def test_other_big_documents_are_read_too(document: Any):
    assert await read_json(answer(big(document))) == document


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "content",
    [
        big({"data": [FILLING]})[:-1],
        big({"data": [FILLING]})[:-2],
        big({"data": [1, FILLING]}).replace(b", ", b"; "),
        big({"data": [FILLING]}) + b"more",
        b'{"data": [' + FILLING.encode(),
        b'{"data": ["' + b"\xff" * 200_000 + b'"]}',
        FILLING.encode(),
        b'{"data": [' + b"[" * 200_000,
        b'{"data": [1], "more": ' + b"[" * 200_000,
    ],
)
async def test_a_cut_or_broken_document_is_refused(content: bytes):
    with pytest.raises(DecodeError, match=r"^anytrack: the answer \(status 200, \d+ bytes\)"):
        await read_json(answer(content))


@pytest.mark.asyncio
async def test_a_small_document_stays_on_the_loop():
    assert await read_json(answer(b'{"data": [1, 2]}')) == {"data": [1, 2]}


@pytest.mark.asyncio
async def test_a_big_list_is_parsed_record_by_record_in_another_thread(
    monkeypatch: pytest.MonkeyPatch,
):
    decode, threads = body._decode, []

    def spy(text: str, at: int) -> tuple[Any, int]:
        threads.append(threading.get_ident())
        return decode(text, at)

    monkeypatch.setattr(body, "_decode", spy)
    await read_json(answer(big({"data": [{"name": "x" * 1000}] * 300})))

    assert len(threads) == 300
    assert threading.get_ident() not in threads
