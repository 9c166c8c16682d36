"""Errors for unsuccessful responses, and for requests without one; safe to log. Without I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import attrs
import httpx
import orjson

from anytrack_async.errors import (
    CredentialsError,
    NotFoundError,
    RateLimitedError,
    RejectedError,
    ResponseLimitError,
    ServerError,
    ServiceError,
    TransportError,
)
from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import LimitExceeded, Request, Response, TotalTimeout
from anytrack_async.transport.secrets import MASK, Secrets

_ERROR_CLASSES: Mapping[int, type[ServiceError]] = {
    401: CredentialsError,
    403: CredentialsError,
    404: NotFoundError,
    408: ServerError,
    410: NotFoundError,
    425: ServerError,
    429: RateLimitedError,
}
_MESSAGE_FIELDS = ("error", "errors", "detail", "title")
_DETAIL_FIELDS = (*_MESSAGE_FIELDS, "details", "fields")
_LONGEST_DETAIL = 1_000  # characters
_TEXT_FIELDS = ("message", "detail", "msg", "title")
_SAFE_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


@attrs.frozen(kw_only=True)
class ErrorBody:
    """A service's description of a failure, safe to log.

    Attributes:
        message: without quotes from the request, and masked by `safe_text`.
        code: the service's own error code.
        request_id: the id by which the service's support finds the request.
    """

    message: str
    code: str | None = None
    request_id: str | None = None


def read_error_body(response: Response) -> ErrorBody:
    """Return the description of a failure in *response*; whatever the body, it does not raise.

    Understands ``{"message", "code", "request_id"}``, the same inside ``"error"``, the
    `X-Request-ID` header, and the messages of web frameworks: ``{"errors": […]}``, ``{"detail"}``
    and ``{"title"}``.
    """
    body = response.json_object()
    error = body.get("error")
    inner = error if isinstance(error, Mapping) else body
    message = inner.get("message") or body.get("message") or error
    if not isinstance(message, str):
        message = next(filter(None, map(_first_message, map(body.get, _MESSAGE_FIELDS))), "")
    if message:
        message = safe_text(redact(message, quotable_texts(response.request_content)))
    request_id = response.headers.get("x-request-id") or body.get("request_id")
    return ErrorBody(
        message=message or _default_message(response.status),
        code=_safe_id(inner.get("code", body.get("code"))),
        request_id=_safe_id(request_id),
    )


def detail_of(response: Response) -> str:
    """Return what a failure says beside its message; not to be shown, because it is not masked."""
    body = response.json_object()
    error = body.get("error")
    inner = error if isinstance(error, Mapping) else {}
    values = (part.get(name) for part in (body, inner) for name in _DETAIL_FIELDS)
    return " ".join(filter(None, map(_first_message, values)))[:_LONGEST_DETAIL]


def _first_message(value: object, levels: int = 3) -> str:
    """Return the first message in *value*, perhaps with the field that it is about.

    ``[{"loc": ["body", "revenue"], "msg": "not a number"}]`` → ``body.revenue: not a number``,
    ``{"revenue": ["is invalid"]}`` → ``revenue: is invalid``
    """
    if isinstance(value, str) or not value or not levels:
        return value if isinstance(value, str) else ""
    if isinstance(value, list):
        return _first_message(value[0], levels - 1)
    if not isinstance(value, Mapping):
        return ""
    if text := _own_message(value):
        return text
    name, inner = next(iter(value.items()))
    text = _first_message(inner, levels - 1)
    return f"{name}: {text}" if text else ""


def _own_message(error: Mapping[str, Any]) -> str:
    text = next((error[name] for name in _TEXT_FIELDS if isinstance(error.get(name), str)), "")
    place = error.get("loc")
    return f"{'.'.join(map(str, place))}: {text}" if text and isinstance(place, list) else text


def service_error(response: Response) -> ServiceError:
    """Return the error for *response*, which is not a 2xx."""
    error_body = read_error_body(response)
    return _error_class(response.status)(
        error_body.message,
        service=response.service,
        status=response.status,
        code=error_body.code,
        request_id=error_body.request_id,
        retry_after=response.retry_after,
    )


def _error_class(status: int) -> type[ServiceError]:
    return _ERROR_CLASSES.get(status, ServerError if status >= 500 else RejectedError)


def _safe_id(value: object) -> str | None:
    text = str(value) if isinstance(value, str | int) else ""
    return text if _SAFE_ID.fullmatch(text) else None


def _default_message(status: int) -> str:
    if 300 <= status < 400:
        return "redirects are not followed; check base_url"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown error"


# Redaction: services often quote the request in their error messages. These functions remove
# customers' data, and what looks like a token. The session has hidden its own secrets before.

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
"""Fields that identify the conversion and its problem, but not the customer."""

_MIN_QUOTED_LENGTH = 3  # characters; shorter texts occur in any message by chance
_STATUS = re.compile(r"[1-9][0-9]{2}\b")
_CALL_FAILED = re.compile(r"\[Errno (\d+)\] Connect call failed \([^)]*\)")
_WHITESPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def _connection_problem(exc: httpx.ConnectError) -> str:
    """Return why no connection was opened, without addresses, which `safe_text` would mask.

    ``[Errno 111] Connect call failed ('203.0.113.5', 443)`` → ``Connection refused``
    """
    # Without words, the other end closed during the TLS handshake, or a proxy sent no TLS.
    reason = str(exc) or "it was closed before it was ready"
    return _CALL_FAILED.sub(lambda match: os.strerror(int(match[1])), reason)


def safe_text(text: str, max_length: int = 200) -> str:
    """Return *text* on one line, masked and cut to *max_length* characters.

    E-mail addresses, IP addresses, numbers of seven digits or more, URL queries and anything like a
    token become ``***``: ``"ada@example.com is no lead"`` → ``"*** is no lead"``.
    """
    line = _WHITESPACE.sub(" ", text[: max_length * 4]).strip()
    masked = _MASKED.sub(MASK, line)
    return masked if len(masked) <= max_length else masked[: max_length - 1] + "…"


def redact(message: str, values: Iterable[str]) -> str:
    """Return *message* with *values* replaced by ``***``, in any case, as whole words."""
    # Only the values that occur go into the pattern: one of all values of a batch would take 30 ms
    # to compile. The longest come first, so that "Ada Lovelace" is not left as "*** Lovelace".
    lower = message.lower()
    quoted = {value for value in values if value.strip() and value.lower() in lower}
    if not quoted:
        return message
    pattern = "|".join(map(re.escape, sorted(quoted, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", MASK, message, flags=re.IGNORECASE)


def quotable_texts(request_content: bytes) -> list[str]:
    """Return the texts of a request's JSON body that an error message must not quote.

    These are all texts of three characters or more, except the fields that identify the conversion.
    """
    try:
        texts = list(_texts(orjson.loads(request_content)))
    except orjson.JSONDecodeError:
        return []
    return [text for text in texts if len(text) >= _MIN_QUOTED_LENGTH]


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


# Without a response

QUOTING_ERRORS = (httpx.LocalProtocolError, httpx.ProxyError)
"""Errors with text that may contain a secret: a header that is not valid HTTP, or the response of a
proxy that refused its credentials."""


_LIMITS = {
    "max_body": "the response is larger than {:,} bytes",
    "max_reply": "the response is larger than {:,} bytes",
    "max_head": "the response has more than {:,} bytes of headers or of chunk sizes and trailers",
    "max_headers": "the response has more than {:,} headers",
    "max_informational": "the response comes after more than {:,} informational ones",
}
"""What a response was that exceeded a limit, by its setting."""


def transport_error(
    exc: Exception, request: Request, http: HttpSettings, secrets: Secrets
) -> TransportError:
    """Return the error of a request that has no response, without secrets."""
    message, service = secrets.mask(_describe(exc, request, http)), request.service
    if isinstance(exc, LimitExceeded):
        return ResponseLimitError(message, service=service, setting=exc.setting)
    return TransportError(message, service=service)


def _describe(exc: Exception, request: Request, http: HttpSettings) -> str:
    # Host and port are safe to show and help to find the wrong setting: a base URL never contains
    # user and password.
    host = httpx.URL(request.url).netloc.decode("ascii")
    match exc:
        case LimitExceeded():
            return _LIMITS[exc.setting].format(exc.limit) + (
                " and was cut off; if the service may send so much, set "
                f"HttpSettings(limits=ResponseLimits({exc.setting}=…))"
            )
        case httpx.LocalProtocolError():
            return "the request is not valid HTTP, e.g. a header contains a forbidden character"
        case httpx.ProxyError():
            return _proxy_refusal(exc, host)
        case TotalTimeout():
            return f"no complete response within {http.exchange_seconds:g} s"
        case httpx.TimeoutException():
            return _timeout(exc, host, http.timeout)
        case httpx.ConnectError():
            return f"connection to {host} failed: {safe_text(_connection_problem(exc))}"
        case httpx.DecodingError():
            return "the body of the response cannot be decompressed"
        case _:
            return f"the connection broke off ({type(exc).__name__})"


def _timeout(exc: httpx.TimeoutException, host: str, seconds: float) -> str:
    match exc:
        case httpx.PoolTimeout():
            return f"no free connection within {seconds:g} s: increase HttpSettings.connections"
        case httpx.ConnectTimeout():
            return f"no connection to {host} within {seconds:g} s"
        case _:
            return f"no response within {seconds:g} s"


def _proxy_refusal(exc: httpx.ProxyError, host: str) -> str:
    status = _STATUS.match(str(exc))  # the text behind the status may quote the password
    refusal = f" (status {status[0]})" if status else ""
    return f"the proxy refused to connect to {host}{refusal}: check its URL and password"
