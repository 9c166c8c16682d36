"""From an unsuccessful response to an error, whose text is safe to log. Without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import attrs
import orjson

from anytrack_async.errors import (
    CredentialsError,
    NotFoundError,
    RateLimitedError,
    RejectedError,
    ServerError,
    ServiceError,
)
from anytrack_async.transport.message import Response

_KINDS: Mapping[int, type[ServiceError]] = {
    401: CredentialsError,
    403: CredentialsError,
    404: NotFoundError,
    408: ServerError,
    410: NotFoundError,
    425: ServerError,
    429: RateLimitedError,
}
_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


@attrs.frozen(kw_only=True)
class ErrorBody:
    """What a service says about a failure, in words that are safe to show.

    Attributes:
        message: without what it quotes of the request, and masked by `safe_text`.
        code: the service's own error code.
        request_id: what to quote to its support.
    """

    message: str
    code: str | None = None
    request_id: str | None = None


def read_error_body(response: Response) -> ErrorBody:
    """Return what *response* says about a failure; whatever its body is, this does not raise.

    Understands ``{"message", "code", "request_id"}``, the same inside ``"error"``, and the
    `X-Request-ID` header.
    """
    body = response.json_object()
    error = body.get("error")
    inner = error if isinstance(error, Mapping) else body
    told = inner.get("message") or body.get("message") or error
    message = _said(told, response.request_content) if isinstance(told, str) else ""
    request_id = response.headers.get("x-request-id") or body.get("request_id")
    return ErrorBody(
        message=message or _phrase(response.status),
        code=_id(inner.get("code", body.get("code"))),
        request_id=_id(request_id),
    )


def _said(told: str, sent: bytes) -> str:
    return safe_text(hide(told, quotable(sent)))


def service_error(response: Response) -> ServiceError:
    """Return the error that *response*, which is no success, stands for."""
    error_body = read_error_body(response)
    return _kind(response.status)(
        error_body.message,
        service=response.service,
        status=response.status,
        code=error_body.code,
        request_id=error_body.request_id,
        retry_after=response.retry_after,
    )


def _kind(status: int) -> type[ServiceError]:
    return _KINDS.get(status, ServerError if status >= 500 else RejectedError)


def _id(value: object) -> str | None:
    text = str(value) if isinstance(value, str | int) else ""
    return text if _ID.fullmatch(text) else None


def _phrase(status: int) -> str:
    if 300 <= status < 400:
        return "answered with a redirect, which is not followed; check base_url"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown failure"


# Redaction: a service's own words, without a customer's data or a token in them

MASK = "***"

_MASKED = re.compile(
    r"""
      (?<![^\s<>"'(),;:=])                             # an e-mail address
      [^\s<>"'(),;:=]* (?:@|%40) [^\s<>"'(),;]+
    | \bBearer\s+\S+                                  # a token, announced
    | (?<=\?) [^\s"'<>]+                              # the query of a URL
    | \b(?:\d{1,3}\.){3}\d{1,3}\b                     # an IPv4 address
    | \b(?:[0-9a-fA-F]{0,4}:){3,}[0-9a-fA-F]{0,4}\b   # an IPv6 address
    | \+?\d (?:[\s().\-/]{0,2}\d){6,}                 # a phone, card or account number
    | (?<![\w~+/=-])                                  # a token or a hash,
      (?![a-z]+(?:_[a-z0-9]{1,15})+(?![\w~+/=-]))     # but not the name of a field
      (?=[\w.~+/=-]*\d) [A-Za-z0-9_~+/=-]{20,}
    | [A-Za-z0-9+/=]{32,}                             # a token without a digit
    """,
    re.VERBOSE,
)
_PUBLIC = frozenset(
    ("action_source", "conversion_type", "currency", "event_id", "event_name", "order_id")
)
"""Fields that tell which conversion is meant and what is wrong with it, not whose it is."""

_SHORT = 3
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def safe_text(text: str, longest: int = 200) -> str:
    """Return *text* on one line, masked and at most *longest* characters.

    E-mail addresses, IP addresses, numbers of seven digits or more, URL queries and what looks like
    a token become ``***``: services like to quote what they were sent.
    """
    line = _SPACE.sub(" ", text[: longest * 4]).strip()
    masked = _MASKED.sub(MASK, line)
    return masked if len(masked) <= longest else masked[: longest - 1] + "…"


def hide(message: str, values: Iterable[str]) -> str:
    """Return *message* without any of *values*."""
    low = message.lower()  # a pattern of all values of a batch would take 30 ms to compile
    there = {one for one in values if one.strip() and one.lower() in low}
    if not there:
        return message
    any_of_them = "|".join(map(re.escape, sorted(there, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{any_of_them})(?!\w)", MASK, message, flags=re.IGNORECASE)


def quotable(sent: bytes) -> list[str]:
    """Return what a service that was *sent* this JSON might quote of it and should not.

    That is every text in it of three characters or more, but for what names the conversion.
    """
    try:
        return [text for text in _texts(orjson.loads(sent)) if len(text) >= _SHORT]
    except orjson.JSONDecodeError:
        return []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _PUBLIC:
                yield from _texts(item)
