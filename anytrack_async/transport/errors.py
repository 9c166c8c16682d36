"""From an answer that is no success to an error of our tree, without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

import attrs

from anytrack_async.errors import (
    CredentialsError,
    NotFoundError,
    RateLimitedError,
    RejectedError,
    ServerError,
    ServiceError,
)
from anytrack_async.transport.answer import Answer
from anytrack_async.transport.redact import hide, quotable, safe_text

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
class Fault:
    """What a service says about a failure, in words that are safe to show.

    Attributes:
        message: without what it quotes of the request, and masked by `safe_text`.
        code: the service's own error code.
        request_id: what to quote to its support.
    """

    message: str
    code: str | None = None
    request_id: str | None = None


def read_fault(answer: Answer) -> Fault:
    """Return what *answer* says about a failure; whatever its body is, this does not raise.

    Understands ``{"message", "code", "request_id"}``, the same inside ``"error"``, and the
    `X-Request-ID` header.
    """
    body = answer.object()
    error = body.get("error")
    inner = error if isinstance(error, Mapping) else body
    told = inner.get("message") or body.get("message") or error
    message = _said(told, answer.sent) if isinstance(told, str) else ""
    request_id = answer.headers.get("x-request-id") or body.get("request_id")
    return Fault(
        message=message or _phrase(answer.status),
        code=_id(inner.get("code", body.get("code"))),
        request_id=_id(request_id),
    )


def _said(told: str, sent: bytes) -> str:
    return safe_text(hide(told, quotable(sent)))


def service_error(answer: Answer) -> ServiceError:
    """Return the error that *answer*, which is no success, stands for."""
    fault = read_fault(answer)
    return _kind(answer.status)(
        fault.message,
        service=answer.service,
        status=answer.status,
        code=fault.code,
        request_id=fault.request_id,
        retry_after=answer.retry_after,
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
