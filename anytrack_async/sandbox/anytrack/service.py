"""AnyTrack's REST API: authentication, routes and replies."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from anytrack_async.sandbox.anytrack import queries
from anytrack_async.sandbox.anytrack.collect import CollectEndpoint
from anytrack_async.sandbox.anytrack.store import MODELS, Store, Stored, to_conversion_id
from anytrack_async.sandbox.anytrack.validation import event_id, find_problems
from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.request import JSON_TYPE, Clock, Reply, Request, json_reply
from anytrack_async.sandbox.settings import SandboxSettings


class AnyTrackService:
    """The AnyTrack stand-in.

    No public page documents this API. Where its documents are silent, the stand-in behaves in a
    way that a careful client must cope with: 201 for a new conversion and 200 for a repeated one,
    revenue as text, times in UTC without an offset, touchpoints newest first, undocumented fields.
    """

    def __init__(self, settings: SandboxSettings, ledger: LedgerPage, clock: Clock) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._store = Store(seed=settings.seed, keep=settings.keep)
        # Idempotency key → number of the conversion, for all conversions since the last reset.
        self._numbers: dict[str, int] = {}
        self._requests = itertools.count(1)
        self._accounts = frozenset(settings.anytrack.accounts)
        self._collect = CollectEndpoint(settings.anytrack, ledger, self._store, clock)
        self.set_tokens(settings.anytrack.keys)

    def set_tokens(self, tokens: tuple[str, ...]) -> None:
        """Accept these API keys and no others."""
        self._keys = frozenset(tokens)

    def failure(self) -> Reply:
        """Return a 500."""
        return self._error(500, "internal_error", "Something went wrong on our side")

    def throttled(self) -> Reply:
        """Return a 429 with a `Retry-After` of a second."""
        reply = self._error(429, "rate_limited", "Too many requests")
        return Reply(429, reply.body, (*reply.headers, (b"retry-after", b"1")))

    def handle(self, request: Request) -> Reply:
        """Reply to one request under `/v1`, or to a collect endpoint."""
        if not request.path.startswith("/v1/"):
            return self._collect.handle(request)
        rejection = self._check_credentials(request)
        if rejection is not None:
            return rejection
        if request.path == "/v1/conversions" and request.method == "POST":
            return self._track(request)
        if request.method != "GET":
            return self._error(405, "method_not_allowed", f"{request.method} is not allowed here")
        try:
            return self._read(request)
        except queries.InvalidParameterError as exc:
            return self._invalid({exc.field: str(exc)})

    def _check_credentials(self, request: Request) -> Reply | None:
        if request.bearer not in self._keys:
            self._ledger.reject("unauthorized")
            return self._error(401, "unauthorized", "The API key is missing or not valid")
        if request.header(b"x-account-id") not in self._accounts:
            self._ledger.reject("forbidden")
            return self._error(403, "forbidden", "The API key may not use this account")
        return None

    def _track(self, request: Request) -> Reply:
        try:
            data = request.json()
        except ValueError:
            self._ledger.reject("invalid_json")
            return self._error(400, "invalid_json", "The body is not JSON")
        if not isinstance(data, dict):
            return self._invalid({"body": "must be an object"})
        # A repeat is validated too: an invalid conversion is rejected before its key is read.
        if problems := find_problems(data):
            return self._invalid(problems)
        key = event_id(data, request.header(b"idempotency-key"))
        return self._store_once(data, request.body, key)

    def _store_once(self, data: dict[str, Any], body: bytes, key: str | None) -> Reply:
        earlier = self._numbers.get(key) if key and self._settings.anytrack.dedup else None
        self._ledger.accept(key, new=earlier is None)
        if earlier is not None:
            return self._success(200, earlier)
        # The body is stored as it arrived, unless it lacks the time that reads filter by.
        if not data.get("timestamp"):
            body = orjson.dumps({**data, "timestamp": self._now().isoformat()})
        number = self._store.add(body)
        if key:
            self._numbers[key] = number
        return self._success(201, number)

    def _read(self, request: Request) -> Reply:
        match request.path.removeprefix("/v1/").rstrip("/").split("/"):
            case ["conversions"]:
                return self._data([stored.as_json() for stored in self._select(request)])
            case ["conversions", id_]:
                return self._view(id_, lambda stored: {"data": stored.as_json()})
            case ["conversions", id_, "touchpoints"]:
                return self._view(id_, _touchpoints)
            case ["conversions", id_, "attribution"]:
                return self._attribution(id_, request.params.get("model", "last_click"))
            case ["affiliates", "performance"]:
                return self._performance(request)
            case ["affiliates", "top"]:
                selected = self._select(request)
                seed = self._settings.seed
                return self._data(queries.top_affiliates(request.params, selected, seed=seed))
            case ["reports", "daily"]:
                query = queries.parse_day(request.params)
                return self._reply(200, queries.daily_report(filter(query.matches, self._store)))
        return self._error(404, "not_found", f"There is no {request.path}")

    def _select(self, request: Request) -> list[Stored]:
        query = queries.Query.parse(request.params, now=self._now())
        return [stored for stored in self._store if query.matches(stored)]

    def _performance(self, request: Request) -> Reply:
        name = request.params.get("affiliate_id")
        if not name:
            return self._invalid({"affiliate_id": "is required"})
        selected = self._select(request)
        return self._data(queries.performance(name, selected, seed=self._settings.seed))

    def _attribution(self, id_: str, name: str) -> Reply:
        model = next((model for model in MODELS if model == name), None)
        if model is None:
            return self._invalid({"model": "must be one of " + ", ".join(MODELS)})
        return self._view(
            id_, lambda stored: {"model": model, "weights": stored.journey.weights(model)}
        )

    def _view(self, id_: str, view: Callable[[Stored], dict[str, Any]]) -> Reply:
        stored = self._store.get(id_)
        if stored is None:
            return self._error(404, "not_found", f"There is no conversion {id_}")
        return self._reply(200, view(stored))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _success(self, status: int, number: int) -> Reply:
        # By hand: this reply is sent once for every conversion.
        body = b'{"status":"success","conversion_id":"%b"}' % to_conversion_id(number).encode()
        return Reply(status, body, (JSON_TYPE, (b"x-request-id", self._request_id())))

    def _data(self, data: object) -> Reply:
        return self._reply(200, {"data": data})

    def _reply(self, status: int, data: object) -> Reply:
        return json_reply(status, data, [(b"x-request-id", self._request_id())])

    def _invalid(self, fields: dict[str, str]) -> Reply:
        self._ledger.reject("validation_error")
        message = "; ".join(f"{name} {problem}" for name, problem in fields.items())
        return self._error(422, "validation_error", message, fields=fields)

    def _error(self, status: int, code: str, message: str, **more: object) -> Reply:
        request_id = self._request_id()
        body = {"status": "error", "code": code, "message": message, **more}
        body["request_id"] = request_id.decode()
        return json_reply(status, body, [(b"x-request-id", request_id)])

    def _request_id(self) -> bytes:
        return b"req_%08x" % next(self._requests)


def _touchpoints(stored: Stored) -> dict[str, Any]:
    return {"data": [touch.as_json() for touch in reversed(stored.journey.touchpoints)]}
