"""Reads of JSON: long bodies in steps and in bounded memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from math import inf, nan
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import DecodeError, ResponseLimitError
from anytrack_async.settings.http import ResponseLimits
from anytrack_async.transport import long_json
from anytrack_async.transport.long_json import read_json
from anytrack_async.transport.message import Response
from tests.transport.test_message import deep, levels_of

FILLING = "x" * 200_000


def response(content: bytes) -> Response:
    return Response(200, httpx.Headers(), content, "anytrack")


# Lenient JSON

LENIENT = [
    (rb'"a\ud83d"', "a\ufffd"),
    (rb'"\udE00\uD83D"', "\ufffd\ufffd"),
    (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
    (rb'"\\ud83d"', r"\ud83d"),
    (rb'"\\\ud83d\n"', "\\\ufffd\n"),
    (b'"\xed\xa0\xbd"', "\ufffd"),
    (b"NaN", nan),
    (b"[Infinity, -Infinity, 1e999]", [inf, -inf, inf]),
    (b'"caf\xe9 in Latin-1"', "caf\ufffd in Latin-1"),
    (b'"a\x01\tb"', "a\x01\tb"),
    (b'"a\tb\\ud83d"', "a\tb\ufffd"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("value", "expected"), LENIENT)
async def test_a_broken_value_spoils_no_other(value: bytes, expected: Any):
    record = b'{"x": ' + value + b"}"
    for filling in (b"", FILLING.encode()):
        content = b'{"data": [1, %b, "%b"], "more": %b}' % (record, filling, record)
        body = await read_json(response(content))

        assert repr(body["data"][:2]) == repr([1, {"x": expected}])
        assert repr(body["more"]) == repr({"x": expected})


@pytest.mark.asyncio
async def test_a_byte_order_mark_is_ignored():
    for filling in ("", FILLING):
        document = {"data": [filling]}
        assert await read_json(response(b"\xef\xbb\xbf" + big(document))) == document


@pytest.mark.asyncio
@pytest.mark.parametrize("levels", [400, 2_000])
async def test_a_deep_record_of_a_big_list_is_cut_off(levels: int):
    body = await read_json(response(f'{{"data": [{deep(levels)}, "{FILLING}"]}}'.encode()))

    depth, value = levels_of(body["data"][0])
    assert 298 <= depth <= 300
    assert value is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def big(document: Any, **options: Any) -> bytes:
    return json.dumps(document, **options).encode()


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(max_size=4), VALUES, max_size=3))
@pytest.mark.asyncio
async def test_a_big_list_reads_as_with_any_parser(records: list[Any], fields: dict[str, Any]):
    document = {"data": [*records, FILLING], **{k: v for k, v in fields.items() if k != "data"}}

    assert await read_json(response(big(document))) == document
    assert await read_json(response(big(document, indent=1))) == document


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "document", [[FILLING], {"data": {"name": FILLING}}, {"other": FILLING, "data": []}, FILLING]
)
async def test_other_big_documents_are_read_too(document: Any):
    assert await read_json(response(big(document))) == document


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
        b'{"data": [' + b"[" * 90_000 + b" " * 90_000,
        b'{"data": [1], "more": ' + b"[" * 90_000 + b" " * 90_000,
        b'{"data": [1], 2: "' + FILLING.encode() + b'"}',
        b'{"data": [1] "' + FILLING.encode() + b'"}',
    ],
)
async def test_a_truncated_or_malformed_document_is_an_error(content: bytes):
    with pytest.raises(DecodeError, match=r"^anytrack: the response \(status 200, \d+ bytes\)"):
        await read_json(response(content))


@pytest.mark.asyncio
async def test_an_odd_record_of_a_big_list_costs_no_other():
    odd = f'{{"a": {deep(5_000)}, "b": {"9" * 5_000}, "id": {2**64 + 1}}}'
    content = f'{{"data": [{{"id": 1}}, {odd}, "{FILLING}"], "total": {2**70}}}'.encode()

    body = await read_json(response(content))

    assert body["data"][0] == {"id": 1}
    assert body["data"][1]["id"] == 2**64 + 1
    assert body["data"][1]["b"] == "9" * 5_000
    assert body["data"][2] == FILLING
    assert body["total"] == 2**70


@pytest.mark.asyncio
async def test_a_small_document_is_parsed_on_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_json, "_parse_long", None)

    assert await read_json(response(b'{"data": [1, 2]}')) == {"data": [1, 2]}


@pytest.mark.asyncio
async def test_a_big_list_is_parsed_record_by_record_in_a_worker_thread(
    monkeypatch: pytest.MonkeyPatch,
):
    decode, threads = long_json._decode_value, []

    def spy(text: str, position: int) -> tuple[Any, int]:
        threads.append(threading.get_ident())
        return decode(text, position)

    monkeypatch.setattr(long_json, "_decode_value", spy)
    await read_json(response(big({"data": [{"name": "x" * 1000}] * 300})))

    assert 300 <= len(threads) < 320  # those at the end of a piece are parsed again
    assert threading.get_ident() not in threads


@pytest.mark.asyncio
@pytest.mark.parametrize("shift", range(0, 40, 3))
async def test_a_value_may_end_anywhere_in_a_decoded_piece(shift: int):
    # Pieces have 65,536 bytes; numbers, literals, escapes and characters lie across their borders.
    pad = "x" * (65_536 - 40 + shift)
    records = [pad, 1234567, -1.5e10, True, None, "é\U0001f600", {"a": [1, {}], "b": "\\"}] * 3
    document = {"data": records, "more": {"é": 1}}

    assert await read_json(response(big(document))) == document
    assert await read_json(response(big(document, ensure_ascii=False))) == document


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [3, 1_000])
async def test_the_records_of_a_list_become_results_one_by_one(count: int):
    first: list[int] = []

    def read_list(records: Iterable[Any]) -> list[Any]:
        first.append(threading.get_ident())
        return [record["id"] for record in records]

    records = [{"id": number, "text": "x" * 200} for number in range(count)]
    body = await read_json(response(big({"total": [1], "data": records})), read_list=read_list)

    assert body == {"total": [1], "data": list(range(count))}
    assert (first[0] == threading.get_ident()) is (count == 3)


@pytest.mark.asyncio
@pytest.mark.parametrize("form", ['{"data": [%s]}', '{"data": [{"a": [%s]}]}', "[%s]"])
@pytest.mark.parametrize("value", ["{}", "[]", "0", '""', "NaN", "null", '{"a":0}', "[[0]]"])
async def test_a_body_of_tiny_values_is_refused_before_it_takes_memory(value: str, form: str):
    content = (form % ",".join([value] * (1_000_000 // (len(value) + 1)))).encode()
    parsed: list[Any] = []

    def read_list(records: Iterable[Any]) -> list[Any]:
        parsed.extend(records)
        return parsed

    limits = ResponseLimits(max_body=len(content))
    with pytest.raises(ResponseLimitError, match=r"too many values.*max_body=…") as caught:
        await read_json(response(content), limits, read_list)

    assert caught.value.setting == "max_body"
    assert not parsed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "content",
    [
        b'{"data": ["' + b"x" * 999_000 + b'"]}',  # one record is nearly all
        b'{"data": [{"a": [' + b'"xxxxxxx",' * 99_000 + b"0]}]}",
        b'{"data": [' + b'"xxxxxxx",' * 99_000 + b"0]}",  # many records
        b"[" * 130_000 + b" " * 870_000,
    ],
)
async def test_a_list_or_a_record_that_is_too_large_is_refused(content: bytes):
    with pytest.raises(ResponseLimitError, match=r"too many values.*max_body=…"):
        await read_json(response(content), ResponseLimits(max_body=1_000_000))


@pytest.mark.asyncio
async def test_a_full_page_of_short_records_is_read():
    touchpoint = {
        "type": "click",
        "source": "google",
        "timestamp": "2026-01-01T00:00:00",
        "id": 12345,
    }
    document = {"data": [touchpoint] * 11_000}
    content = big(document)

    assert await read_json(response(content), ResponseLimits(max_body=len(content))) == document
