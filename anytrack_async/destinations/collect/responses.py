"""Reads the responses of the collect endpoint. Without I/O.

AnyTrack documents the words of two refusals ("Missing click_id, ref_id and email" and "No match
found"), but neither statuses nor bodies. So the rules are tolerant: a success counts unless it
names an error. A page of HTML, or a path that does not exist, means that the URL is wrong. A
refusal counts as AnyTrack's only if it is plain text or JSON.

Source: AnyTrack, Custom Integration Params, readme.anytrack.io.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from anytrack_async.destinations.anytrack.causes import (
    NotAnyTrack,
    outcome_unless_rejected,
    rejection,
    throttled,
)
from anytrack_async.destinations.responses import confirms, noting_status
from anytrack_async.destinations.sink import NeedsOperator
from anytrack_async.errors import DecodeError
from anytrack_async.models.identifiers import id_from_number
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.errors import read_error_body
from anytrack_async.transport.message import Response, only_item

IS_URL_RIGHT: Final = "is the collect URL (ANYTRACK_COLLECT_URL) right?"

_STATUS_PHRASES: Final = frozenset(
    (
        *("", "bad request", "conflict", "content too large", "payload too large"),
        *("request entity too large", "too large", "unprocessable content", "unprocessable entity"),
    )
)
"""Words with which a proxy or a framework refuses any request, so not about a conversion."""

_TEMPORARY = frozenset({408, 425})
_NO_SUCH_PATH = frozenset({404, 405, 410})
_NO_ACCESS = frozenset({401, 402, 403, 407})
_ABOUT_CONTENT = frozenset({400, 409, 413, 422})
_LONGEST_LOOK = 2_000  # bytes of a body that are searched for words
_OWN_FIELDS = ("click_id", "clickId", "event_id", "eventId", "conversion_id", "received", "success")
_OWN_REASONS = ("error", "errors", "message")
_ID_FIELDS = ("conversion_id", "conversionId", "eventId", "event_id", "id")

_names_missing = re.compile(r"(?i)missing[^.]{0,20}click.?id").search
_names_no_match = re.compile(r"(?i)no match(?: was)? found|unknown click").search
_names_duplicate = re.compile(r"(?i)duplicate|already (?:exists|recorded|received)").search
_FAILURE = (
    r"fail|(?<!\bno )\berr|invalid|reject|denied|refused|unauthori|forbidden|maintenance"
    r"|unavailable|disabled|suspended|blocked|not.?(?:ok|found|accepted|processed)"
)
_names_failure = re.compile(f"(?i){_FAILURE}").search
_begins_with_failure = re.compile(rf"(?i)\W*(?:false\b|0\W*$|{_FAILURE})").match
# Of XHTML, or behind a byte order mark or a comment too; AnyTrack writes no markup.
_is_page = re.compile(r"[\s\ufeff\ufffd\x00]*<").match


@noting_status
def read_outcome(
    response: Response, report_unusual: Callable[[Response], None] = lambda _: None
) -> Outcome:
    """Return the outcome of the conversion that *response* answers.

    Args:
        response: the response to the POST.
        report_unusual: called with a success that has none of the usual words.

    Raises:
        NeedsOperator: the URL is wrong, or the integration is switched off.
        NotAnyTrack: the answer is not AnyTrack's, e.g. a page of HTML or a redirect; or it does not
            say what is wrong.
        Throttled: 429.
    """
    status, text = response.status, _text(response)
    if status == 429:
        raise throttled(response, *_reason(response))
    if status in _TEMPORARY or status >= 500 or status < 200:
        reason, code = _reason(response)
        return Outcome.retry(reason, code=code, after=response.retry_after)
    if 300 <= status < 400 or _is_page(text):
        raise NotAnyTrack(_ask_for_url(response), cause="configuration", code=str(status))
    if (refusal := _refusal(text)) is not None:
        return refusal
    if response.success:
        return _read_success(response, report_unusual)
    return _read_refusal(response, text)


def _refusal(text: str) -> Outcome | None:
    """Return the outcome of a documented refusal, which may come with any status."""
    if _names_missing(text):
        return Outcome.rejected("AnyTrack misses click_id, ref_id and email", code="identity")
    if _names_no_match(text):
        return Outcome.rejected(
            "AnyTrack does not know the click id (no match found), so the conversion would be lost "
            "there; replay it with the click id of the visit",
            code="no_match",
        )
    return None


def _read_success(response: Response, report_unusual: Callable[[Response], None]) -> Outcome:
    body = response.json_object()
    if _says_failure(body):
        return _read_own_words(response)
    text = _text(response)
    if not body and _is_cut_off(response):
        return Outcome.retry(f"AnyTrack's answer was cut off (status {response.status})")
    if not body and _begins_with_failure(text):
        return _read_own_words(response)
    # An empty success is one: no body is documented, and such addresses of trackers often answer
    # without one. Sending again would never end, and track a conversion without an order id twice.
    if not confirms(response, _OWN_FIELDS) and text.strip().lower() not in ("ok", ""):
        report_unusual(response)
    return Outcome.delivered(_remote_id(body))


def _says_failure(body: Mapping[str, Any]) -> bool:
    failed = any(_is_negative(body.get(name)) for name in ("success", "ok", "result", "status"))
    if failed or body.get("error") or body.get("errors"):
        message = str(body.get("error") or body.get("message") or "")
        return not _names_duplicate(message[:_LONGEST_LOOK])
    return _has_failure_status(body) or _has_failure_message(body)


def _is_negative(value: object) -> bool:
    return value is not None and str(value).strip().lower() in ("0", "false", "no")


def _has_failure_message(body: Mapping[str, Any]) -> bool:
    """Return whether *body* has no answer but a message such as "route not found"."""
    if any(body.get(name) for name in (*_ID_FIELDS, "status", "success", "result", "ok")):
        return False
    messages = [body.get(name) for name in ("message", "detail", "msg", "reason", "title")]
    text = " ".join(text[:200] for text in messages if isinstance(text, str))
    return bool(_names_failure(text)) and not _names_duplicate(text)


def _has_failure_status(body: Mapping[str, Any]) -> bool:
    """Return whether *body* is one such as ``{"status": "failed"}`` or ``{"code": 422}``."""
    status, code = body.get("status"), body.get("code")
    numbers = [number for number in (status, code) if type(number) is int]
    words = [word[:200] for word in (status, body.get("result")) if isinstance(word, str)]
    return any(map(_names_failure, words)) or any(number >= 400 for number in numbers)


def _is_cut_off(response: Response) -> bool:
    if response.content.lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        response.json()
    except DecodeError:
        return True
    return False


def _read_refusal(response: Response, text: str) -> Outcome:
    reason, code = _reason(response)
    status, body = response.status, response.json_object()
    if _names_duplicate(text) or (status == 409 and _remote_id(body)):
        return Outcome.delivered(_remote_id(body))
    if status in _NO_SUCH_PATH:
        raise NeedsOperator(_ask_for_url(response), cause="configuration", code=code)
    if status in _NO_ACCESS:
        raise NeedsOperator(f"{reason}; {IS_URL_RIGHT}", cause="configuration", code=code)
    # A 415 or 426 concerns every conversion, and so may a refusal that does not say why.
    if status not in _ABOUT_CONTENT or _says_nothing(response, text):
        raise NotAnyTrack(_ask_for_url(response), cause="configuration", code=code)
    return _read_own_words(response)


def _says_nothing(response: Response, text: str) -> bool:
    """Return whether a refusal only repeats the words of its status: ``[]``, ``Bad Request``."""
    try:
        body = only_item(response.json())
    except DecodeError:
        is_text = text.lstrip()[:1] not in ("{", "[") and len(response.content) < _LONGEST_LOOK
        words = text if is_text else ""
    else:
        if isinstance(body, dict) and not _names_reason(body):
            return False  # AnyTrack's, perhaps
        if isinstance(body, dict) and not any(body.get(name) for name in _OWN_REASONS):
            return True  # a web framework's
        words = read_error_body(response).message
    words = words.strip(" .!\r\n").removeprefix(str(response.status)).strip()
    return words.lower() in _STATUS_PHRASES


def _names_reason(body: Mapping[str, Any]) -> bool:
    return any(body.get(name) for name in (*_OWN_REASONS, "detail"))


def _read_own_words(response: Response) -> Outcome:
    """Return the outcome of an error in AnyTrack's words; one without words names no cause."""
    (reason, code), error = _reason(response), response.json_object()
    is_one_word = not error and response.content.strip(b' "\r\n').isalnum()  # such as "failed"
    if is_one_word or (error and not _names_reason(error)):
        return Outcome.retry(f"AnyTrack gave no reason: {reason}", code=code)
    if outcome := outcome_unless_rejected(response, reason, code):
        return outcome
    return rejection(response, reason, code, words=_text(response))


def _ask_for_url(response: Response) -> str:
    return f"the answer is not AnyTrack's: {_reason(response)[0]}; {IS_URL_RIGHT}"


def _remote_id(body: Mapping[str, Any]) -> str | None:
    for name in _ID_FIELDS:
        value = body.get(name)
        remote_id = value.strip() if isinstance(value, str) else value and id_from_number(value)
        if remote_id:
            return remote_id
    return None


def _text(response: Response) -> str:
    return response.content[:_LONGEST_LOOK].decode(errors="replace")


def _reason(response: Response) -> tuple[str, str]:
    error = read_error_body(response)
    return f"{error.message} (status {response.status})", error.code or str(response.status)
