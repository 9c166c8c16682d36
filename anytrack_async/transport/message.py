"""`Request`, `Response`, and the `Engine` protocol: sends a request and returns the response."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, NamedTuple, Protocol, TypeAlias

import httpx
import orjson

from anytrack_async.errors import DecodeError
from anytrack_async.settings.http import ResponseLimits

Transport: TypeAlias = httpx.AsyncBaseTransport
"""An injected transport: any object with httpx's asynchronous transport interface."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}"  # a pair: \ud83d\ude00
    r"|(u[dD][89a-fA-F][\da-fA-F]{2})"  # one alone: \ud83d
    r"|.)",
    re.DOTALL,
)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_DEPTH = 300  # levels of nesting
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_OUTLINE = bytes(
    0x30 if 0x30 <= byte <= 0x39 else 0x2C if byte in b",[{\\" else 0x20 for byte in range(256)
)
"""Turns JSON into its outline: ``0`` for a digit, a comma where a value or an escape begins."""
_LONG_NUMBER = b"0" * 19  # digits: orjson reads an integer beyond 64 bits as an inexact float
_MAX_BROKEN_SHARE = 10  # one character in ten
_MAX_HEADER = 200  # characters of a time
_SMALL_REPLY = 16_384  # bytes
_HUGE_NUMBER = b"0" * 400  # digits: reading 4,300 takes 0.1 ms
_MAX_REPLY_VALUES = 20_000  # HubSpot writes a few thousand for its largest batch


class TotalTimeout(httpx.ReadTimeout):
    """The response keeps arriving, but the exchange as a whole takes too long."""


class LimitExceeded(httpx.RemoteProtocolError):
    """The response is over a limit; its connection is closed.

    Args:
        setting: field of `ResponseLimits`.
        limit: its value.
    """

    def __init__(self, setting: str, limit: int) -> None:
        super().__init__(f"the response is over the limit: {setting}={limit}")
        self.setting = setting
        self.limit = limit


def body_limit(limits: ResponseLimits, method: str, status: int) -> tuple[str, int]:
    """Return the limit of a body, as the name of its setting and a number of bytes."""
    if method == "GET" and 200 <= status < 300:
        return "max_body", limits.max_body
    return "max_reply", limits.max_reply


class Request(NamedTuple):
    """One request; its `repr` shows neither URL nor headers nor body.

    Attributes:
        service: the service's name, for error messages.
        method: upper case.
        url: percent-encoded.
        headers: names in title case, so that no name occurs twice. The engine adds `Host` and
            `Content-Length`.
        content: the body.
    """

    service: str
    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None = None

    def __repr__(self) -> str:
        return f"<Request: {self.method} to {self.service}>"

    def build_response(self, status: int, headers: Mapping[str, str], content: bytes) -> Response:
        """Return the response to this request."""
        return Response(status, headers, content, self.service, self.content or b"")


class Response(NamedTuple):
    """A response, read to its end; its `repr` shows neither headers nor bodies.

    Attributes:
        status: HTTP status.
        headers: looked up case-insensitively.
        content: the body, decompressed.
        service: the service's name, for error messages.
        request_content: the body of the request, so that error messages which quote it can be
            redacted.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    service: str = ""
    request_content: bytes = b""

    def __repr__(self) -> str:
        return f"<Response: {self.status} from {self.service}>"

    @property
    def success(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before a retry, as the service asked; None if it did not ask.

        0 if the service asked for no wait, or until a time in the past; a retry waits for a
        backoff all the same.
        """
        return parse_retry_after(self.headers)

    def json(self) -> Any:
        """Return the body as JSON; see `parse_reply`.

        Raises:
            DecodeError: the body is not JSON. The message names service and status, never the body.
        """
        try:
            return parse_reply(self.content)
        except ValueError:
            raise self.decode_error() from None

    def decode_error(self) -> DecodeError:
        """Return the error of a body that is not JSON."""
        return DecodeError(
            f"{self.service}: the response (status {self.status}, {len(self.content)} bytes) is "
            "not JSON"
        )

    def json_object(self) -> Mapping[str, Any]:
        """Return the body as a JSON object, or an empty one if the body is anything else.

        Of a list of one object, that object: some services answer a single conversion so.
        """
        try:
            body = parse_reply(self.content)
        except ValueError:
            return {}
        if not isinstance(body, dict):
            body = only_item(body)
        return body if isinstance(body, dict) else {}


class Engine(Protocol):
    """Carries requests. All engines behave alike and raise httpx's errors; they differ in speed."""

    async def exchange(self, request: Request) -> Response:
        """Send *request* once, without following redirects, and read the whole response.

        Raises:
            httpx.TransportError: there is no response; `TotalTimeout` if the exchange as a whole
                takes too long, `LimitExceeded` if the response is over a limit.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


# Reading headers and bodies


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds to wait from the `Retry-After` header, None without a usable value.

    Args:
        headers: of the response.
        now: the time that a date in the header is compared with. Default: the time at the server,
            from the `Date` header, so that the clock of this machine need not be right; without
            that header, the present.

    Source: RFC 9110, section 10.2.3: seconds, or an HTTP date.
    """
    value = headers.get("retry-after", "")[:_MAX_HEADER].strip()
    if not value:
        return None
    try:
        # Of two headers, "7, 9", the first: aiohttp returns no other.
        seconds = float(value.partition(",")[0])
    except ValueError:
        return _seconds_until(
            value, now or _date(headers.get("date", "")[:_MAX_HEADER]) or datetime.now(UTC)
        )
    return max(seconds, 0.0) if isfinite(seconds) else None


def _seconds_until(date: str, now: datetime) -> float | None:
    moment = _date(date)
    return None if moment is None else max((moment - now).total_seconds(), 0.0)


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def only_item(body: Any) -> Any:
    """Return the item of *body*, JSON, if that is a list of one item; else *body* itself."""
    return body[0] if isinstance(body, list) and len(body) == 1 else body


def parse_json(content: bytes) -> Any:
    """Return *content* as JSON, with the deviations from the standard that services have.

    Half of a surrogate pair, and bytes that are not UTF-8, become U+FFFD, the replacement
    character; `NaN` and `Infinity` become the floats of these names. Control characters in text,
    and a byte order mark, are accepted. Integers are exact; one of more than 4,300 digits becomes
    text. Below 300 levels of nesting, an object or a list becomes None. So one bad value costs its
    record at most, and not the response.

    Raises:
        ValueError: *content* is not JSON.
    """
    return _parse(content, content.translate(_OUTLINE))


def parse_reply(content: bytes) -> Any:
    """Return `parse_json` of the body of an error, or of a response to a delivery.

    These are read on the event loop. 1 MiB of ``[],[],…`` are 350,000 lists, which would take 25 MB
    and half a second; so a body of more than about 20,000 values or escapes counts as no JSON.

    Raises:
        ValueError: *content* is not JSON, or has too many values.
    """
    outline = content.translate(_OUTLINE)
    if len(content) > _SMALL_REPLY and (
        outline.count(b",") > _MAX_REPLY_VALUES or _HUGE_NUMBER in outline
    ):
        raise ValueError("too many values")
    return _parse(content, outline)


def _parse(content: bytes, outline: bytes) -> Any:
    if _LONG_NUMBER not in outline:
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    return parse_leniently(decode_text(content.removeprefix(BOM_UTF8)))


def parse_leniently(text: str) -> Any:
    """Return the JSON *text*, with what only `parse_json` accepts.

    Raises:
        ValueError: *text* is not JSON.
    """
    text = _replace_escapes(text)
    if _may_be_deep(text, 0, len(text)):
        text = _without_deep_values(text)
    return tolerant_decoder.decode(text)


def is_irregular(text: str, start: int, end: int) -> bool:
    """Return whether the value there needs `parse_leniently`."""
    return bool(_SURROGATE_ESCAPE.search(text, start, end)) or _may_be_deep(text, start, end)


def _may_be_deep(text: str, start: int, end: int) -> bool:
    # Python 3.11 raises an error at about 1,000 levels, and 3.13 reads many thousands, which other
    # functions could not handle. A list of 300 records may be deep, too: only counting tells.
    return text.count("[", start, end) + text.count("{", start, end) > _MAX_DEPTH


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:  # more than 4,300 digits
        return digits


# Unlike the usual decoder, it takes control characters in text, and any integer.
tolerant_decoder = json.JSONDecoder(strict=False, parse_int=_integer)


def end_of_value(text: str, start: int) -> int:
    """Return the end of the object or list that begins at *start*.

    Raises:
        json.JSONDecodeError: it does not end.
    """
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if not depth:
            return token.end()
    raise json.JSONDecodeError("the end is missing", text, start)


def _without_deep_values(text: str) -> str:
    """Return JSON with ``null`` in place of each object and list below 300 levels.

    With a limit of two levels, ``{"a": [{"b": 1}], "c": 2}`` becomes ``{"a": [null], "c": 2}``.
    """
    pieces: list[str] = []
    depth = position = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth == _MAX_DEPTH + 1:
                pieces += (text[position : token.start()], "null")
        elif token[0] in ("]", "}"):
            if depth == _MAX_DEPTH + 1:
                position = token.end()
            depth -= 1
    if depth > _MAX_DEPTH:
        raise ValueError("the end is missing")
    return "".join([*pieces, text[position:]])


def decode_text(content: bytes) -> str:
    """Return *content*, or a piece of it, as text; what is not UTF-8 becomes U+FFFD.

    Raises:
        ValueError: too much of it is not.
    """
    try:
        text = content.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        # A name in Latin-1 spoils a few characters; a body full of them has another encoding.
        text = content.decode(errors="replace")
        if text.count("\ufffd") * _MAX_BROKEN_SHARE > len(text):
            raise
        return text
    return _SURROGATE.sub("\ufffd", text)


def _replace_escapes(text: str) -> str:
    # Escape by escape, from the left: in "\\\\ud800" the first two characters are an escaped
    # backslash, and "ud800" is text.
    if not _SURROGATE_ESCAPE.search(text):
        return text
    return _ESCAPE.sub(lambda escape: "\\ufffd" if escape[1] else escape[0], text)
