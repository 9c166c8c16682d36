"""HubSpot's API: authentication, limits and routes, for versions by date and by number.

Source: HubSpot: API reference, 2026-09, 2026-03 and v3/v4.
"""

from __future__ import annotations

import re

from anytrack_async.sandbox.hubspot import associations, metadata, reads, writes
from anytrack_async.sandbox.hubspot.access import Limits, Tokens
from anytrack_async.sandbox.hubspot.messages import Call, HubSpotError, not_found, too_many
from anytrack_async.sandbox.hubspot.portal import Portal, Table
from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.request import Clock, Reply, Request, json_reply
from anytrack_async.sandbox.settings import SandboxSettings

# HubSpot writes the version before or after the area: /crm/v3/objects/deals and
# /crm/objects/2026-09/deals are the same resource, here `objects/deals`.
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
        self._tokens.set_tokens(tokens)

    def failure(self) -> Reply:
        """Return a 5xx: JSON from HubSpot, or HTML from the proxy in front of it."""
        status, text = self._portal.chance.choice(_FAILURES)
        if status == 500:
            error = HubSpotError(status=500, category="INTERNAL_ERROR", message="internal error")
            return self._rejection(error)
        page = f"<html><head><title>{status} {text}</title></head></html>".encode()
        return Reply(status, page, ((b"content-type", b"text/html"),))

    def throttled(self) -> Reply:
        """Return a 429 with a short wait, in one of the two headers that may carry it."""
        header = self._portal.chance.choice(
            (
                (b"retry-after", b"1"),
                (b"x-hubspot-ratelimit-interval-milliseconds", b"300"),
            )
        )
        return self._rejection(too_many("TEN_SECONDLY_ROLLING", (header,)))

    def handle(self, request: Request) -> Reply:
        """Reply to one request."""
        limit_headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            path = _route(request.path)
            if path == ["token"] and request.method == "POST":
                return self._tokens.refresh(request)
            self._tokens.check(request.bearer)
            if not _is_exempt(path):
                # Before counting too: a reply to a request over the limit carries them as well.
                limit_headers = self._limits.headers()
                self._limits.count_request()
                limit_headers = self._limits.headers()
            reply = self._dispatch(Call(request), path)
        except HubSpotError as error:
            self._portal.count_rejection(error)
            reply = self._rejection(error)
        return Reply(reply.status, reply.body, (*reply.headers, *limit_headers))

    def _rejection(self, error: HubSpotError) -> Reply:
        correlation_id = self._portal.correlation_id()
        header = (b"x-hubspot-correlation-id", correlation_id.encode())
        return json_reply(error.status, error.body(correlation_id), (*error.headers, header))

    def _dispatch(self, call: Call, path: list[str]) -> Reply:
        match call.method, path:
            case _, ["objects", type_, *subpath]:
                return self._objects(call, self._portal.table(type_), subpath)
            case "POST", ["associations", source, target, *subpath]:
                tables = self._portal.table(source), self._portal.table(target)
                return self._associations(call, *tables, subpath)
            case "GET", ["pipelines", type_, *subpath]:
                self._tokens.check_scope("crm.objects.deals.read")
                return metadata.pipelines(self._portal.table(type_), subpath)
            case method, ["properties", type_, *subpath] if method in ("GET", "POST"):
                table = self._portal.table(type_)
                self._tokens.check_scope(f"crm.schemas.{table.kind}.{_verb(method, subpath)}")
                return metadata.properties(self._portal, call, table, subpath)
            case "POST", ["events", "send", *subpath]:
                self._tokens.check_scope("analytics.behavioral_events.send")
                return writes.send_events(self._portal, call, batch=subpath == ["batch"])
            case "GET", ["account"]:
                return metadata.account_details(self._portal)
        raise not_found("resource not found")

    def _objects(self, call: Call, table: Table, path: list[str]) -> Reply:
        portal = self._portal
        self._tokens.check_scope(f"crm.objects.{table.kind}.{_verb(call.method, path)}")
        match call.method, path:
            case "POST", ["batch", "upsert" | "create" | "update" as mode]:
                return writes.write_batch(portal, call, table, mode)
            case "POST", ["batch", "read"]:
                return reads.read_batch(portal, call, table)
            case "POST", ["search"]:
                return reads.search(call, table)
            case "POST", []:
                return writes.create(portal, call, table)
            case "GET", []:
                return reads.list_page(call, table)
            case "GET", [id_]:
                return reads.get(portal, call, table, id_)
            case "PATCH", [id_]:
                return writes.update(call, table, id_)
            case "GET", [id_, "associations", other]:
                return associations.list_associations(portal, table, id_, portal.table(other))
            case "PUT", [id_, "associations", "default", other, other_id]:
                return associations.associate(portal, table, id_, portal.table(other), other_id)
        raise not_found("resource not found")

    def _associations(self, call: Call, source: Table, target: Table, path: list[str]) -> Reply:
        if source.kind == target.kind:
            raise not_found("resource not found")
        match path:
            case ["batch", "read"]:
                self._tokens.check_scope(f"crm.objects.{source.kind}.read")
                return associations.read_batch(self._portal, call, source, target)
            case ["batch", "associate", "default"]:
                self._tokens.check_scope(f"crm.objects.{source.kind}.write")
                return associations.associate_batch(self._portal, call, source, target)
            case ["batch", "create"]:
                self._tokens.check_scope(f"crm.objects.{source.kind}.write")
                return associations.create_batch(self._portal, call, source, target)
        raise not_found("resource not found")


def _route(path: str) -> list[str]:
    """Return the parts of *path* after its API version, such as ``["objects", "deals"]``."""
    for pattern, area in _AREAS:
        if match := pattern.fullmatch(path.rstrip("/")):
            return match.expand(area).split("/")
    raise not_found("resource not found")


def _is_exempt(path: list[str]) -> bool:
    """Return whether a request does not count towards the limits."""
    return (path[0] == "associations" and "batch" in path) or path[-1] == "search"


def _verb(method: str, path: list[str]) -> str:
    return "read" if method == "GET" or path[-1:] in (["read"], ["search"]) else "write"
