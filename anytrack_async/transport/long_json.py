"""`read_json`: the JSON of a read, also of a long one, in bounded memory and in short steps.

A parser holds the interpreter lock until it is done, in a worker thread as well, and so would stall
the event loop. A long body is an object with a list of records, ``{"data": [{…}, {…}], "total":
2}``. It is parsed in a worker thread, record by record; the lock is free in between. Each record
may be turned into a result at once, so that the parsed records are never all in memory.

What remains is Python's garbage collector, which stops all threads: a full collection with 20,000
conversions, those of a list of 8 MB, takes 30 to 60 ms.

8 MB of ``{},{},…`` are 2.8 million objects, which would take 180 MB. They are counted before
anything is parsed; see `_check_values`.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import anyio.to_thread

from anytrack_async.errors import ResponseLimitError
from anytrack_async.settings.http import ResponseLimits
from anytrack_async.transport.message import (
    Response,
    decode_text,
    end_of_value,
    is_irregular,
    parse_json,
    parse_leniently,
    tolerant_decoder,
)

ListReader: TypeAlias = Callable[[Iterable[Any]], list[Any]]
"""Turns the records of a list, which come one by one, into the list that takes its place."""

_LONG_BODY = 131_072  # bytes of JSON that take about a millisecond to parse
_MAX_ON_LOOP = 50  # records that are read on the event loop; more would block it for too long
_PIECE = 65_536  # bytes that are decoded, or counted, at a time
_BYTES_PER_VALUE = 8  # at least, on average; ordinary records have about 20
_BYTES_PER_OBJECT = 80  # at least, on average; ordinary records have about 400
_RECORDS_PER_BODY = 8  # at least: a record may take an eighth of the largest body
_LONGEST_LITERAL = 16  # characters: -Infinity, or a pair of escapes
_WHITESPACE = " \t\r\n"
_DEFAULT_LIMITS = ResponseLimits()
_decode_value = json.JSONDecoder(strict=False).raw_decode


async def read_json(
    response: Response,
    limits: ResponseLimits = _DEFAULT_LIMITS,
    read_list: ListReader | None = None,
) -> Any:
    """Return the JSON of *response*, which was read.

    Args:
        response: its body may be long.
        limits: of the response; `max_body` also limits the number of values.
        read_list: reads the list in ``"data"``, if there is one; a long list in a worker thread.

    Raises:
        DecodeError: the body is not JSON.
        ResponseLimitError: it has too many values, or a record that is too large.
    """
    content = response.content
    try:
        if len(content) >= _LONG_BODY:
            return await anyio.to_thread.run_sync(
                _parse_long, response, limits.max_body, read_list, abandon_on_cancel=True
            )
        body = parse_json(content)
    except ValueError:
        raise response.decode_error() from None
    if read_list is not None and isinstance(body, dict) and isinstance(body.get("data"), list):
        body["data"] = await _read_list(body["data"], read_list)
    return body


async def _read_list(records: list[Any], read_list: ListReader) -> list[Any]:
    if len(records) <= _MAX_ON_LOOP:
        return read_list(records)
    return await anyio.to_thread.run_sync(read_list, records, abandon_on_cancel=True)


def _parse_long(response: Response, max_body: int, read_list: ListReader | None) -> Any:
    _check_values(response, max_body)
    return _LongJson(response, max_body, read_list).read()


def _check_values(response: Response, max_body: int) -> None:
    """Check that *response* has not too many values for a body of *max_body* bytes.

    With 8 MiB, 1 million values are allowed, and 105,000 objects among them: a page of 20,000
    records of 17 fields has 400,000, and 60,000. Commas in texts count as well.
    """
    content = response.content
    values = objects = 0
    for start in range(0, len(content), _PIECE):  # in steps, because each holds the lock
        piece = (start, start + _PIECE)
        objects += content.count(b"{", *piece)
        values += content.count(b",", *piece) + content.count(b"[", *piece)
        if values > max_body // _BYTES_PER_VALUE or objects > max_body // _BYTES_PER_OBJECT:
            raise _too_many_values(response, max_body)


def _too_many_values(response: Response, max_body: int) -> ResponseLimitError:
    message = (
        "the response has too many values for a body of at most "
        f"{max_body:,} bytes, or a record that is too large; if the service may send so much, set "
        "HttpSettings(limits=ResponseLimits(max_body=…))"
    )
    return ResponseLimitError(message, service=response.service, setting="max_body")


class _LongJson:
    """Parses a body value by value: those of an object's members, and those of their lists.

    The body is decoded in pieces. A value that ends with a piece may continue in the next one, so
    it is parsed again with that.

    Args:
        response: has the body.
        max_body: bytes. One record has at most an eighth of that in characters and an eightieth in
            values; a list has at most an eightieth in records.
        read_list: of the list in ``"data"``.
    """

    def __init__(self, response: Response, max_body: int, read_list: ListReader | None) -> None:
        self._response = response
        self._content = response.content
        self._max_body = max_body
        self._read_list = read_list
        self._offset = len(BOM_UTF8) if self._content.startswith(BOM_UTF8) else 0
        self._text = ""  # decoded and not parsed, from the position on
        self._position = 0

    def read(self) -> Any:
        """Return the value of the whole body.

        Raises:
            ValueError: it is not JSON.
            ResponseLimitError: there are too many records, or one is too large.
        """
        body = self._object() if self._next() == "{" else self._member("")
        if self._next():
            raise ValueError("more follows the end")
        return body

    def _object(self) -> dict[str, Any]:
        fields = {}
        for _ in self._separated("}"):
            name = self._value()
            if not isinstance(name, str) or self._next() != ":":
                raise ValueError("no member")
            self._position += 1
            fields[name] = self._member(name)
        return fields

    def _member(self, name: str) -> Any:
        if self._next() != "[":
            return self._value()
        values = (self._value() for _ in self._separated("]"))
        return self._read_list(values) if self._read_list and name == "data" else list(values)

    def _separated(self, end: str) -> Iterator[None]:
        """Yield before each value of an object or a list, and pass over what surrounds these."""
        self._position += 1
        if self._next() == end:
            self._position += 1
            return
        for _ in range(self._max_body // _BYTES_PER_OBJECT):
            yield
            separator = self._next()
            self._position += 1
            if separator == end:
                return
            if separator != ",":
                raise ValueError("no separator")
        raise _too_many_values(self._response, self._max_body)

    def _next(self) -> str:
        """Return the next character that is no whitespace, and go there; empty at the end."""
        while True:
            while self._position < len(self._text):
                character = self._text[self._position]
                if character not in _WHITESPACE:
                    return character
                self._position += 1
            if not self._decode_more():
                return ""

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._parse()
            except json.JSONDecodeError as exc:
                if _may_be_cut_off(exc) and self._decode_more():
                    continue
                raise
            if end < len(self._text) or not self._decode_more():
                break
        text, start, self._position = self._text, self._position, end
        return parse_leniently(text[start:end]) if is_irregular(text, start, end) else value

    def _parse(self) -> tuple[Any, int]:
        try:
            return _decode_value(self._text, self._position)
        except json.JSONDecodeError:
            raise
        except RecursionError:
            return None, end_of_value(self._text, self._position)
        except ValueError:  # an integer of more than 4,300 digits
            try:
                return tolerant_decoder.raw_decode(self._text, self._position)
            except RecursionError:
                return None, end_of_value(self._text, self._position)

    def _decode_more(self) -> bool:
        """Decode the next piece, twice the text so far or more; return False at the end."""
        start, content = self._offset, self._content
        if start >= len(content):
            return False
        unparsed = self._text[self._position :]
        if len(unparsed) >= _LONG_BODY:
            self._check_record(unparsed)
        end = start + max(_PIECE, len(unparsed))
        for _ in range(3):  # not within a character
            end -= end < len(content) and content[end] & 0xC0 == 0x80
        self._text, self._position = unparsed + decode_text(content[start:end]), 0
        self._offset = end
        return True

    def _check_record(self, text: str) -> None:
        # Parsing one record holds the lock.
        values = sum(text.count(character) for character in ",[{")
        if (
            values > self._max_body // _BYTES_PER_OBJECT
            or len(text) > self._max_body // _RECORDS_PER_BODY
        ):
            raise _too_many_values(self._response, self._max_body)


def _may_be_cut_off(exc: json.JSONDecodeError) -> bool:
    # `{"a": fal` is cut off, `{"a": oops, "b": 1, "c": 2}` is wrong whatever follows.
    return exc.msg.startswith("Unterminated") or exc.pos > len(exc.doc) - _LONGEST_LITERAL
