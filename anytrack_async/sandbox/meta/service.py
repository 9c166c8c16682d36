"""The Conversions API: authentication, limits, and batches accepted as a whole or not at all.

Source: Meta: Conversions API, using the API; Graph API, securing requests and rate limits.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import random
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import orjson

from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.meta import errors
from anytrack_async.sandbox.meta.errors import DAY, GraphError, find_error
from anytrack_async.sandbox.request import Clock, Reply, Request, json_reply
from anytrack_async.sandbox.settings import SandboxSettings

MAX_EVENTS = 1_000
MAX_PARTNER_AGENT = 22
DEDUP_WINDOW = 2 * DAY  # from the first copy; later copies do not extend it


class MetaService:
    """The Conversions API stand-in, for every version of the Graph API."""

    def __init__(self, settings: SandboxSettings, ledger: LedgerPage, clock: Clock) -> None:
        self._pixel = settings.meta
        self._ledger = ledger
        self._clock = clock
        self._traces = itertools.count(1)
        self._random = random.Random(settings.seed)
        # Hashes as keys: a million (pixel, name, id) tuples would need far more memory.
        self._first_seen: dict[int, float] = {}
        self._codes: dict[str, int] = {}
        ledger.extra["test_event_codes"] = self._codes
        self.set_tokens(settings.meta.tokens)

    def set_tokens(self, tokens: tuple[str, ...]) -> None:
        """Accept these access tokens and no others."""
        self._tokens = tokens

    def failure(self) -> Reply:
        """Return a transient 500."""
        return self._error(errors.failure())

    def throttled(self) -> Reply:
        """Return one of the two throttling errors, both HTTP 400."""
        return self._error(errors.throttled(self._random.choice((4, 80004))), usage=100)

    def handle(self, request: Request) -> Reply:
        """Reply to one request under `/{version}/`."""
        try:
            return self._handle_events(request)
        except GraphError as error:
            self._ledger.reject(error.reason)
            return self._error(error)

    def _handle_events(self, request: Request) -> Reply:
        parameters = _read_parameters(request)
        self._authorize(request.bearer or parameters.get("access_token"), parameters)
        self._check_path(request)
        if len(str(parameters.get("partner_agent") or "")) > MAX_PARTNER_AGENT:
            raise errors.bad_parameter("partner_agent must be shorter than 23 characters.")
        events = _read_events(parameters.get("data"))
        if len(events) > MAX_EVENTS:
            raise errors.bad_parameter(f"param data must have at most {MAX_EVENTS} elements.")
        now = self._clock()
        # The first invalid event rejects all: so does Meta.
        for event in events:
            if error := find_error(event, now):
                raise error
        return self._accept(request.path, events, parameters.get("test_event_code"), now)

    def _authorize(self, token: object, parameters: dict[str, Any]) -> None:
        if not token:
            raise errors.no_token()
        if token not in self._tokens:
            raise errors.bad_token()
        secret = self._pixel.app_secret
        if secret is not None:
            proof = hmac.new(secret.encode(), str(token).encode(), hashlib.sha256).hexdigest()
            received = parameters.get("appsecret_proof")
            if received != proof:
                raise errors.bad_proof(is_missing=received is None)

    def _check_path(self, request: Request) -> None:
        _version, id_, edge = [*request.path.strip("/").split("/", 2), "", ""][:3]
        if request.method != "POST" or edge != "events" or id_ not in self._pixel.pixels:
            raise errors.unknown_object(request.method, id_)

    def _accept(self, path: str, events: list[Any], code: object, now: float) -> Reply:
        for event in events:
            event_id = event.get("event_id")
            self._ledger.accept(
                None if event_id is None else str(event_id),
                new=event_id is None or self._is_new(path, event, now),
            )
        if code:
            self._codes[str(code)] = self._codes.get(str(code), 0) + len(events)
        body = {"events_received": len(events), "messages": [], "fbtrace_id": self._trace()}
        return json_reply(200, body, self._usage(1))

    def _is_new(self, path: str, event: dict[str, Any], now: float) -> bool:
        pixel = path.split("/")[2]
        key = hash((pixel, event["event_name"], str(event["event_id"])))
        first = self._first_seen.get(key)
        if first is not None and now - first <= DEDUP_WINDOW:
            return False
        self._first_seen[key] = now
        return True

    def _error(self, error: GraphError, *, usage: int = 1) -> Reply:
        return json_reply(error.status, error.body(self._trace()), self._usage(usage))

    def _usage(self, percent: int) -> list[tuple[bytes, bytes]]:
        figures = {"call_count": percent, "total_cputime": percent, "total_time": percent}
        # Meta asks for minutes; an injected wait must not delay a demo.
        case = {"type": "ads_management", **figures, "estimated_time_to_regain_access": 0}
        return [
            (b"x-app-usage", orjson.dumps(figures)),
            (b"x-business-use-case-usage", orjson.dumps({self._pixel.pixels[0]: [case]})),
            (b"facebook-api-version", b"v26.0"),
        ]

    def _trace(self) -> str:
        return f"A{next(self._traces):021x}Z"


# A Graph API request's parameters: from the query, a form, a multipart form or a JSON body.
#
# The Graph API accepts all four. A structured parameter may be JSON or a string that contains JSON;
# Meta's own clients send a list of strings, each with the JSON of one event.


def _read_parameters(request: Request) -> dict[str, Any]:
    """Return the request's parameters; the body takes precedence over the query.

    Raises:
        GraphError: the body does not match its content type.
    """
    return {**request.params, **_read_body(request)}


def _read_body(request: Request) -> dict[str, Any]:
    content_type = request.header(b"content-type").partition(";")[0].strip().lower()
    if not request.body:
        return {}
    if content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    if content_type == "multipart/form-data":
        return _read_multipart(request)
    # Everything else is taken for JSON, with or without a content type.
    data = _load_json(request.body, "the request body")
    if not isinstance(data, dict):
        raise errors.bad_parameter("The request body must be a JSON object.")
    return data


def _read_multipart(request: Request) -> dict[str, Any]:
    header = b"content-type: " + request.header(b"content-type").encode("latin-1") + b"\r\n\r\n"
    # The parser of e-mail reads multipart forms too, given the content type as a header.
    message = BytesParser(policy=HTTP).parsebytes(header + request.body)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode("utf-8", "replace")
    return fields


def _read_events(parameter: object) -> list[Any]:
    """Return the events of the parameter `data`.

    Raises:
        GraphError: it is not a list, or not JSON.
    """
    data = _load_json(parameter, "data") if isinstance(parameter, str) else parameter
    if not isinstance(data, list) or not data:
        raise errors.bad_parameter("param data must be a non-empty array.")
    return [_load_json(item, "data") if isinstance(item, str) else item for item in data]


def _load_json(text: bytes | str, name: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        raise errors.bad_parameter(f"{name} must be valid JSON.") from None
