"""Reading responses of any service: unusual confirmations, and the HTTP status of failures.

Some confirmations are in other words than the service documents: `204`, `{}`, `"duplicate"`. A
destination that confirms in other words has the conversion: sending it again would at best change
nothing. A page of HTML, an empty 200, a body that was cut off, or the JSON of another service is no
confirmation: a proxy or the login page of a network answers so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import attrs

from anytrack_async.destinations.sink import SinkSignal
from anytrack_async.events import Observer, UnusualConfirmation
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.observers import LoggingObserver
from anytrack_async.transport.message import Response, only_item, parse_reply

_STATUSES_WITHOUT_BODY = frozenset({201, 202, 204, 205})
"""With these statuses an empty body is normal; a 200 without a body is no confirmation."""

_WORDS = frozenset(
    {
        *("accepted", "added", "already_exists", "approved", "complete", "completed", "created"),
        *("done", "duplicate", "duplicated", "enqueued", "exists", "logged", "ok", "okay"),
        *("pending", "processed", "processing", "queued", "received", "recorded", "registered"),
        *("saved", "scheduled", "stored", "succeeded", "success", "successful", "tracked"),
        *("true", "200", "201", "202"),
    }
)
_DUPLICATE = frozenset({"alreadyexists", "duplicate", "duplicated", "exists"})
_SIGNS = str.maketrans("", "", "_-")
_MAX_ENVELOPES = 3  # in each other; a recursion over more could fail
_LONGEST_MESSAGE = 200  # characters
_MARKERS = ("status", "result", "success", "ok")
_ENVELOPE = frozenset(
    {
        *_MARKERS,
        *(
            "code",
            "data",
            "duplicate",
            "error",
            "errors",
            "id",
            "message",
            "messages",
            "requestid",
        ),
        "timestamp",
    }
)
"""Fields that services put around an answer, and so no sign of another service."""


def confirms(response: Response, own_fields: Collection[str] = ()) -> bool:
    """Return whether *response*, a 2xx, confirms the request.

    Args:
        response: the service's response.
        own_fields: fields by which an answer of this service is known, such as ``conversion_id``.
    """
    content = response.content.strip()
    if not content:
        return confirms_without_body(response)
    if content.lower() == b"success":
        return True
    try:
        body = parse_reply(content)
    except ValueError:
        return False
    body = only_item(body)
    if isinstance(body, dict):
        return not body or _object_confirms(body, [*map(_plain, own_fields)])
    return (isinstance(body, str) or body is True) and _is_positive(body)


def confirms_without_body(response: Response) -> bool:
    """Return whether *response*, a 2xx, has no body and confirms the request by its status."""
    return response.status in _STATUSES_WITHOUT_BODY and not response.content.strip()


def _object_confirms(
    body: Mapping[str, Any], own_fields: Collection[str], levels: int = _MAX_ENVELOPES
) -> bool:
    body = {_plain(name): value for name, value in body.items()}
    if body.get("error") or body.get("errors"):
        return False
    markers = [body[name] for name in _MARKERS if name in body]
    if not all(map(_is_positive, markers)):
        return False
    if _is_own(body, own_fields, markers):
        return True
    # {"status": "ok", "uptime": 7312} is the answer of another service.
    is_envelope = body.keys() <= _ENVELOPE
    return is_envelope and (bool(markers) or _envelope_confirms(body, own_fields, levels))


def _is_own(
    body: Mapping[str, Any], own_fields: Collection[str], markers: Sequence[object]
) -> bool:
    is_own = _has_own_field(body, own_fields, is_marked=bool(markers))
    return is_own or _names_earlier_one(body, markers)


def _names_earlier_one(body: Mapping[str, Any], markers: Sequence[object]) -> bool:
    """Return whether *body* is like ``{"status": "duplicate", "existing_id": "c1"}``."""
    is_duplicate = any(_plain(word) in _DUPLICATE for word in markers if isinstance(word, str))
    return is_duplicate and any(name.endswith("id") and body[name] for name in body)


def _has_own_field(body: Mapping[str, Any], names: Collection[str], *, is_marked: bool) -> bool:
    """Return whether *body* has a field by which the service is known.

    Without another sign the field needs a value: ``{"conversion_id": null}`` confirms nothing.
    """
    return any(name in body if is_marked else body.get(name) for name in names)


def _plain(name: str) -> str:
    """Return *name* as one for all spellings: ``conversionid`` for ``Conversion_Id``."""
    return name.lower().translate(_SIGNS)


def _envelope_confirms(body: Mapping[str, Any], own_fields: Collection[str], levels: int) -> bool:
    if body.get("id") or _is_positive(body.get("message")) or _message_confirms(body):
        return True
    inner = only_item(body.get("data"))
    return (
        levels > 0 and isinstance(inner, dict) and _object_confirms(inner, own_fields, levels - 1)
    )


_POSITIVE_WORD = re.compile(
    r"(?i)\b(?:accepted|created|duplicate|processed|queued|received|recorded|saved|stored"
    r"|success(?:ful(?:ly)?)?|tracked)\b"
)
_NEGATIVE_WORD = re.compile(
    r"(?i)\b(?:no|not|never|without|but|cannot|un\w+|error|fail\w*|invalid|missing|reject\w*|denied"
    r"|\w+n't)\b"
)


def _message_confirms(body: Mapping[str, Any]) -> bool:
    """Return whether the message is a sentence like "Conversion recorded successfully"."""
    message = body.get("message")
    return (
        isinstance(message, str)
        and len(message) <= _LONGEST_MESSAGE
        and _POSITIVE_WORD.search(message) is not None
        and _NEGATIVE_WORD.search(message) is None
    )


def _is_positive(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value == 1 or 200 <= value < 300
    if not isinstance(value, str):
        return False
    return value.strip().lower().replace(" ", "_") in _WORDS


class Confirmations:
    """Reports the first unusual confirmation of a destination.

    Args:
        destination: the destination's name.

    Attributes:
        observer: notified of the event; by default, the event is logged.
    """

    def __init__(self, destination: str) -> None:
        self.observer: Observer = LoggingObserver()
        self._destination = destination
        self._reported = False

    def report(self, answer: str) -> None:
        """Report that *answer*, a description without customer data, counts as a confirmation."""
        if not self._reported:
            self._reported = True
            self.observer.notify(UnusualConfirmation(destination=self._destination, answer=answer))

    def report_response(self, response: Response) -> None:
        """Report *response* by its status and size."""
        size = len(response.content)
        self.report(f"status {response.status}, " + (f"{size} bytes" if size else "no body"))


# Status


# The HTTP status of failures

_P = ParamSpec("_P")


def noting_status(
    read: Callable[Concatenate[Response, _P], Outcome],
) -> Callable[Concatenate[Response, _P], Outcome]:
    """Return *read* with the status of the response added to its signals and outcomes.

    Delivered outcomes stay unchanged, because they share one object.
    """

    @wraps(read)
    def read_with_status(response: Response, /, *args: _P.args, **options: _P.kwargs) -> Outcome:
        try:
            outcome = read(response, *args, **options)
        except SinkSignal as signal:
            signal.http_status = response.status
            raise
        if outcome.status is Status.DELIVERED:
            return outcome
        return attrs.evolve(outcome, http_status=response.status)

    return read_with_status
