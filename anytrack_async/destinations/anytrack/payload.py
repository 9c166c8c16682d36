"""Encodes conversions for AnyTrack and reads AnyTrack's responses to them. Without I/O.

Only an error in AnyTrack's format rejects a conversion. A page of HTML or the error of another
service says that the request did not reach AnyTrack: the base URL is wrong, or a firewall is in
between.

This code runs for every conversion. So the values of enumerations are looked up in advance
(``.value`` is a function call), and optional fields are set one by one: a loop over their names
would take longer than everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import inf
from string import ascii_letters, digits, punctuation
from typing import Any, Final
from urllib.parse import quote

import attrs
import orjson

from anytrack_async.destinations.anytrack.causes import (
    NotAnyTrack,
    outcome_unless_rejected,
    rejection,
    throttled,
)
from anytrack_async.destinations.consent import withhold_clicks, without_identity
from anytrack_async.destinations.responses import confirms, noting_status
from anytrack_async.destinations.sink import NeedsOperator, SinkSignal, Throttled
from anytrack_async.models.consent import UNKNOWN_CONSENT
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.identifiers import id_from_number
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.settings.consent import ConsentRule
from anytrack_async.transport.errors import read_error_body
from anytrack_async.transport.message import Response, only_item

_TYPES = {kind: kind.value for kind in ConversionType}
_UNQUOTED = ascii_letters + digits + punctuation.replace("%", "") + " "
_is_unquoted = re.compile(r"[ -$&-~]*").fullmatch  # printable ASCII without "%"

_TEMPORARY = frozenset({408, 425})
# Method, headers, format or protocol: the same for every conversion.
_ABOUT_EVERY_REQUEST = frozenset({406, 407, 411, 414, 415, 417, 421, 426, 428, 431, 451})
_NO_SUCH_PATH = frozenset({404, 405, 410})  # the path of `POST /conversions` is always the same
_NO_ACCESS = frozenset({401, 402, 403})
_ABOUT_CONTENT = frozenset({409, 422})
_names_click = re.compile(r"(?i)click|order").search
_names_duplicate = re.compile(r"(?i)duplicate|already|exists").search
_OWN_FIELDS = ("conversion_id", "conversion_type", "conversionId", "conversion")
_ID_FIELDS = ("conversion_id", "conversionId", "id")


def limited(conversion: Conversion, rule: ConsentRule) -> Conversion:
    """Return *conversion* without the data that AnyTrack must not get; itself if it may get all."""
    consent = conversion.consent or UNKNOWN_CONSENT
    conversion = withhold_clicks(conversion, rule)
    if rule.action(consent.ad_user_data) == "send":
        return conversion
    conversion = without_identity(conversion)
    return attrs.evolve(conversion, page_url=None) if conversion.page_url else conversion


def to_payload(conversion: Conversion) -> dict[str, Any]:
    """Return *conversion* in AnyTrack's format, as types that JSON has.

    AnyTrack has no fields for a customer: it gets the visitor's IP address, user agent and page
    only. The event id is sent in ``custom_data``, and so are the name of a custom event and the
    click ids of advertising services.

    Source: AnyTrack REST, ``POST /conversions``.
    """
    return _payload(conversion) | {"timestamp": conversion.timestamp.isoformat()}


def encode(conversion: Conversion) -> bytes:
    """Return `to_payload` of *conversion* as JSON."""
    # orjson writes a datetime as `isoformat` does, and faster.
    return orjson.dumps(_payload(conversion))


def _payload(conversion: Conversion) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "conversion_type": _TYPES[conversion.conversion_type],
        "revenue": _number(conversion.revenue),
        "currency": conversion.currency,
        "timestamp": conversion.timestamp,
        "custom_data": _custom_data(conversion),
    }
    if conversion.click_id:
        payload["click_id"] = conversion.click_id
    if conversion.order_id:
        payload["order_id"] = conversion.order_id
    if conversion.source:
        payload["source"] = conversion.source
    if conversion.campaign_id:
        payload["campaign_id"] = conversion.campaign_id
    if conversion.ad_id:
        payload["ad_id"] = conversion.ad_id
    if conversion.sub_ids:
        payload["sub_ids"] = conversion.sub_ids
    if conversion.ip_address:
        payload["ip_address"] = conversion.ip_address
    if conversion.user_agent:
        payload["user_agent"] = conversion.user_agent
    if conversion.page_url:
        payload["page_url"] = conversion.page_url
    return payload


def _custom_data(conversion: Conversion) -> dict[str, Any]:
    custom_data = {**conversion.clicks, **conversion.custom_data, "event_id": conversion.event_id}
    if conversion.event_name is not None:
        custom_data["event_name"] = conversion.event_name
    return custom_data


def _number(amount: Decimal) -> int | float:
    number = float(amount)
    if not number.is_integer():  # nearly always; comparing the decimal would take twice as long
        return number
    integer = int(amount)
    return integer if integer == amount else number


def idempotency_key(event_id: str) -> str:
    """Return *event_id* in a form that a header can contain; different ids stay different.

    ``"sale:1001"`` is unchanged; ``"sale:Ä%"`` becomes ``"sale:%C3%84%25"``.
    """
    return event_id if _is_unquoted(event_id) else quote(event_id, safe=_UNQUOTED)


# Responses


def read_outcome(
    response: Response, report_unusual: Callable[[Response], None] = lambda _: None
) -> Outcome:
    """Return the outcome of the conversion that *response* answers.

    Args:
        response: the response to ``POST /conversions``.
        report_unusual: called with a response that confirms the conversion in other words than
            ``{"status": "success", "conversion_id": "…"}``.

    Raises:
        NeedsOperator: the API key, the account, or the base URL is wrong.
        NotAnyTrack: the answer is not AnyTrack's, or does not say what is wrong.
        Throttled: 429.
    """
    success, body = response.success, response.json_object()
    remote_id = body.get("conversion_id")
    if type(remote_id) is not str or not (remote_id := remote_id.strip()):
        remote_id = _remote_id(body)
    if success:
        if body.get("status", "success" if remote_id else None) == "success":
            return Outcome(status=Status.DELIVERED, remote_id=remote_id)
        return _read_other_words(response, body, report_unusual)
    if response.status == 409:
        if remote_id:  # the id of a conversion that AnyTrack already has
            return Outcome.delivered(remote_id)
        if body and confirms(response, _OWN_FIELDS):  # {"status": "duplicate"}
            return _read_other_words(response, body, report_unusual)
    return _read_failure(response, body, report_unusual)


@noting_status
def _read_failure(
    response: Response, body: Mapping[str, Any], report_unusual: Callable[[Response], None]
) -> Outcome:
    reason, code = _reason(response)
    status = response.status
    if status == 429:
        raise throttled(response, reason, code)
    if status in _TEMPORARY or not 400 <= status < 500:
        return Outcome.retry(reason, code=code, after=response.retry_after)
    own_code = _own_error_code(status, body)
    if own_code is not None and (outcome := outcome_unless_rejected(response, reason, code)):
        return outcome
    _raise_unless_about_conversion(response, own_code, reason, code)
    if status == 409 and _names_duplicate(f"{own_code} {reason}"):
        report_unusual(response)
        return Outcome.delivered()
    return rejection(response, reason, code)


def _raise_unless_about_conversion(
    response: Response, own_code: str | None, reason: str, code: str
) -> None:
    """Raise the signal of a refusal that concerns every conversion.

    Args:
        response: AnyTrack's response, or a proxy's.
        own_code: the code of an error in AnyTrack's format, see `_own_error_code`.
        reason: for the operator.
        code: for the operator.
    """
    if _is_about_access(response, own_code):
        raise NeedsOperator(reason, code=code)
    status = response.status
    if status in _NO_SUCH_PATH and not _names_click(own_code or ""):
        raise NeedsOperator(_ask_for_base_url(reason), cause="configuration", code=code)
    if own_code is None or status in _ABOUT_EVERY_REQUEST:
        raise NotAnyTrack(_ask_for_base_url(reason), cause="configuration", code=code)


def _is_about_access(response: Response, own_code: str | None) -> bool:
    if own_code is None:
        # A 401 needs no words; but a page asks for the password of another service.
        return response.status == 401 and response.content.lstrip()[:1] in (b"", b"{")
    return response.status in _NO_ACCESS


def _own_error_code(status: int, body: Mapping[str, Any]) -> str | None:
    """Return the code of an error in AnyTrack's format, None if *body* has another format.

    The formats are ``{"status": "error", "code": "…", "message": "…"}``, of which the code may be
    missing, and ``{"error": {"code": "…", "message": "…"}}``. Gateways and frameworks answer
    ``{"message": "Forbidden"}``, ``{"error": "Not Found", "status": 404}`` and the like. They do
    not check the content of a conversion, so for 409 and 422 a message is enough.
    """
    error = body.get("error")
    inner = error if isinstance(error, Mapping) else body
    code, message = inner.get("code"), inner.get("message")
    has_message = isinstance(message, str) and bool(message)
    if isinstance(code, str) and code and not code.isdigit() and has_message:
        return code
    is_own = body.get("status") == "error" or status in _ABOUT_CONTENT
    return "" if has_message and is_own else None


def _ask_for_base_url(reason: str) -> str:
    return (
        f"the answer is not AnyTrack's: {reason}; is AnyTrackSettings.base_url (ANYTRACK_BASE_URL) "
        "right?"
    )


def severity(signal: SinkSignal) -> float:
    """Return the rank of *signal*: of several in one batch, the sink raises the highest.

    A longer pause outranks a shorter pause, and rejected credentials outrank every pause.
    """
    return signal.after if isinstance(signal, Throttled) else inf


@noting_status
def _read_other_words(
    response: Response, body: Mapping[str, Any], report_unusual: Callable[[Response], None]
) -> Outcome:
    if confirms(response, _OWN_FIELDS):
        report_unusual(response)
        objects = (body, only_item(body.get("data")), body.get("conversion"))
        ids = (_remote_id(part, *_ID_FIELDS) for part in objects if isinstance(part, Mapping))
        return Outcome.delivered(next(filter(None, ids), None))
    # Some proxies answer 200 with a page of their own, so a 200 without confirmation is retried.
    return Outcome.retry(f"AnyTrack answered {response.status} without confirming the conversion")


def _remote_id(body: Mapping[str, Any], *names: str) -> str | None:
    for name in names or ("conversion_id",):
        value = body.get(name)
        remote_id = value.strip() if isinstance(value, str) else value and id_from_number(value)
        if remote_id:
            return remote_id
    return None


def _reason(response: Response) -> tuple[str, str]:
    error = read_error_body(response)
    return f"{error.message} (status {response.status})", error.code or str(response.status)


# Both together


@attrs.frozen(kw_only=True)
class RequestFormat:
    """How one conversion is written to AnyTrack, and how the answer is read.

    Attributes:
        path: segments of the path below the session's base URL.
        encode: returns the body.
        headers: returns the headers that only this conversion's request has, of it and its body.
        read: returns the outcome; the second argument is called with an answer that confirms the
            conversion in unusual words.
    """

    path: tuple[str, ...]
    encode: Callable[[Conversion], bytes]
    headers: Callable[[Conversion, bytes], Mapping[str, str] | None]
    read: Callable[[Response, Callable[[Response], None]], Outcome]


REST: Final = RequestFormat(
    path=("conversions",),
    encode=encode,
    headers=lambda conversion, _: {"Idempotency-Key": idempotency_key(conversion.event_id)},
    read=read_outcome,
)
"""The format of AnyTrack's REST API."""
