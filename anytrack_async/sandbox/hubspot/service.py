"""HubSpot's API: authentication, limits and routes, by date version and by number.

Source: HubSpot: API reference, 2026-09, 2026-03 and v3/v4.
"""

from __future__ import annotations

import re

from anytrack_async.sandbox.hubspot import associations, custom_events, metadata, reads, writes
from anytrack_async.sandbox.hubspot.call import Call
from anytrack_async.sandbox.hubspot.errors import HubSpotError, not_found, too_many
from anytrack_async.sandbox.hubspot.limits import Limits
from anytrack_async.sandbox.hubspot.oauth import Tokens
from anytrack_async.sandbox.hubspot.portal import Portal
from anytrack_async.sandbox.hubspot.records import Table
from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.request import Clock, Reply, Request, json_reply
from anytrack_async.sandbox.settings import SandboxSettings

_VERSION = r"(?:\d{4}-\d\d|v[1-4])"
_AREAS = (
    (re.compile(rf"/crm/(objects|associations|pipelines|properties)/{_VERSION}/(.+)"), r"\1/\2"),
    (re.compile(rf"/crm/{_VERSION}/(objects|associations|pipelines|properties)/(.+)"), r"\1/\2"),
    (re.compile(rf"/oauth/{_VERSION}/token"), "token"),
    (re.compile(rf"/events/(?:custom/)?{_VERSION}/(send|send/batch)"), r"events/\1"),
    (re.compile(rf"/account-info/{_VERSION}/details"), "account"),
)
_FAILURES = (
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (521, "Web server is down"),
    (524, "A timeout occurred"),
    (500, "Internal Server Error"),
)


class HubSpotService:
    """The HubSpot stand-in."""

    def __init__(self, settings: SandboxSettings, ledger: LedgerPage, clock: Clock) -> None:
        self._portal = Portal(settings, ledger, clock)
        self._tokens = Tokens(settings.hubspot, clock)
        self._limits = Limits(settings.hubspot, clock)

    def set_tokens(self, tokens: tuple[str, ...]) -> None:
        """Accept these access tokens and no others."""
        self._tokens.accept(tokens)

    def failure(self) -> Reply:
        """Return a 5xx, from HubSpot or from the proxy before it, which speaks HTML."""
        status, text = self._portal.chance.choice(_FAILURES)
        if status == 500:
            error = HubSpotError(status=500, category="INTERNAL_ERROR", message="internal error")
            return self._refused(error)
        page = f"<html><head><title>{status} {text}</title></head></html>".encode()
        return Reply(status, page, ((b"content-type", b"text/html"),))

    def throttled(self) -> Reply:
        """Return a 429 with a short wait, told by one of the two headers that may tell it."""
        header = self._portal.chance.choice(
            (
                (b"retry-after", b"1"),
                (b"x-hubspot-ratelimit-interval-milliseconds", b"300"),
            )
        )
        return self._refused(too_many("TEN_SECONDLY_ROLLING", (header,)))

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        counted: tuple[tuple[bytes, bytes], ...] = ()
        try:
            parts = _parts(request.path)
            if parts == ["token"] and request.method == "POST":
                return self._tokens.refresh(request)
            self._tokens.check(request.bearer)
            if not _is_exempt(parts):
                counted = self._limits.headers()
                self._limits.take()
                counted = self._limits.headers()
            reply = self._route(Call(request), parts)
        except HubSpotError as error:
            self._portal.refuse(error)
            reply = self._refused(error)
        return Reply(reply.status, reply.body, (*reply.headers, *counted))

    def _refused(self, error: HubSpotError) -> Reply:
        correlation_id = self._portal.correlation_id()
        header = (b"x-hubspot-correlation-id", correlation_id.encode())
        return json_reply(error.status, error.body(correlation_id), (*error.headers, header))

    def _route(self, call: Call, parts: list[str]) -> Reply:
        match call.method, parts:
            case _, ["objects", type_, *rest]:
                return self._objects(call, self._portal.table(type_), rest)
            case "POST", ["associations", left, right, *rest]:
                tables = self._portal.table(left), self._portal.table(right)
                return self._associations(call, *tables, rest)
            case "GET", ["pipelines", type_, *rest]:
                self._tokens.need("crm.objects.deals.read")
                return metadata.pipelines(self._portal.table(type_), rest)
            case method, ["properties", type_, *rest] if method in ("GET", "POST"):
                table = self._portal.table(type_)
                self._tokens.need(f"crm.schemas.{table.kind}.{_verb(method, rest)}")
                return metadata.properties(self._portal, call, table, rest)
            case "POST", ["events", "send", *rest]:
                self._tokens.need("analytics.behavioral_events.send")
                return custom_events.send(self._portal, call, batch=rest == ["batch"])
            case "GET", ["account"]:
                return metadata.account(self._portal)
        raise _no_resource()

    def _objects(self, call: Call, table: Table, rest: list[str]) -> Reply:
        portal = self._portal
        self._tokens.need(f"crm.objects.{table.kind}.{_verb(call.method, rest)}")
        match call.method, rest:
            case "POST", ["batch", "upsert" | "create" | "update" as mode]:
                return writes.batch(portal, call, table, mode)
            case "POST", ["batch", "read"]:
                return reads.read(portal, call, table)
            case "POST", ["search"]:
                return reads.search(call, table)
            case "POST", []:
                return writes.create(portal, call, table)
            case "GET", []:
                return reads.page(call, table)
            case "GET", [id_]:
                return reads.get(portal, call, table, id_)
            case "PATCH", [id_]:
                return writes.update(call, table, id_)
            case "GET", [id_, "associations", other]:
                return associations.of(portal, table, id_, portal.table(other))
            case "PUT", [id_, "associations", "default", other, other_id]:
                return associations.one(portal, table, id_, portal.table(other), other_id)
        raise _no_resource()

    def _associations(self, call: Call, left: Table, right: Table, rest: list[str]) -> Reply:
        if left.kind == right.kind:
            raise _no_resource()
        match rest:
            case ["batch", "read"]:
                self._tokens.need(f"crm.objects.{left.kind}.read")
                return associations.read(self._portal, call, left, right)
            case ["batch", "associate", "default"]:
                self._tokens.need(f"crm.objects.{left.kind}.write")
                return associations.associate(self._portal, call, left, right)
            case ["batch", "create"]:
                self._tokens.need(f"crm.objects.{left.kind}.write")
                return associations.create(self._portal, call, left, right)
        raise _no_resource()


def _parts(path: str) -> list[str]:
    for pattern, area in _AREAS:
        if match := pattern.fullmatch(path.rstrip("/")):
            return match.expand(area).split("/")
    raise _no_resource()


def _is_exempt(parts: list[str]) -> bool:
    return (parts[0] == "associations" and "batch" in parts) or parts[-1] == "search"


def _verb(method: str, rest: list[str]) -> str:
    return "read" if method == "GET" or rest[-1:] in (["read"], ["search"]) else "write"


def _no_resource() -> HubSpotError:
    return not_found("resource not found")
