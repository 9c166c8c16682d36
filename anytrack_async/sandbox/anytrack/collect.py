"""`/{property}/collect/{slug}`: AnyTrack's endpoint for custom integrations.

It refuses a conversion without identity and one with an unknown click, in the documented words,
and discards a repeat of the same event and transaction. Statuses and bodies are not documented:
these are made up.

Source: AnyTrack, Custom Integration Params; conversion logic.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

import orjson

from anytrack_async.sandbox.anytrack.store import Store
from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.request import Clock, Reply, Request, json_reply
from anytrack_async.sandbox.settings import AnyTrackAccount

# Accepted name without "_" and "-", in lower case → the name that is kept.
_CORE = {
    **dict.fromkeys(("clickid", "click", "subid"), "click_id"),
    **dict.fromkeys(("refid", "ref"), "ref_id"),
    **dict.fromkeys(("value", "amount", "commission", "revenue", "payout", "sum"), "value"),
    **dict.fromkeys(("transactionid", "transid"), "transaction_id"),
    "currency": "currency",
    "eventname": "event_name",
    "email": "email",
    "timestamp": "timestamp",
}
_TYPES = {"Purchase": "sale", "Lead": "lead", "CompleteRegistration": "signup"}


class CollectEndpoint:
    """The collect endpoints of an account; their conversions can be read by the REST API."""

    def __init__(
        self, account: AnyTrackAccount, ledger: LedgerPage, store: Store, clock: Clock
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._transactions: set[tuple[str, str]] = set()

    def handle(self, request: Request) -> Reply:
        """Reply to one conversion."""
        property_id, _, slug = request.path.strip("/").removeprefix("assets/").split("/")
        if f"{property_id}/{slug}" not in self._account.collect:
            self._ledger.reject("unknown_url")
            return Reply(404, b"<!doctype html><title>Not found</title>", ((_TYPE, b"text/html"),))
        if request.method not in ("GET", "POST"):
            return json_reply(405, {"message": "Method Not Allowed"})
        try:
            data = _parameters(request)
        except ValueError:
            self._ledger.reject("invalid_json")
            return json_reply(400, {"error": "Invalid JSON"})
        return self._collect(_core(data), data)

    def _collect(self, core: Mapping[str, Any], data: Mapping[str, Any]) -> Reply:
        if not (core.get("click_id") or core.get("ref_id") or core.get("email")):
            self._ledger.reject("missing_identity")
            return json_reply(400, {"error": "Missing click_id, ref_id and email"})
        if core.get("click_id") in self._account.unknown_clicks:
            self._ledger.reject("no_match")
            return json_reply(200, {"message": "No match found"})
        name = _event_name(core, data)
        transaction = (name, str(core.get("transaction_id") or ""))
        is_new = not transaction[1] or transaction not in self._transactions
        event_id = data.get("xat_event_id") or core.get("transaction_id")
        self._ledger.accept(str(event_id) if event_id else None, new=is_new)
        if not is_new:
            return json_reply(200, {"message": "Duplicate"})
        self._transactions.add(transaction)
        self._store.add(orjson.dumps(self._record(name, core)))
        return json_reply(200, {"status": "ok"})

    def _record(self, name: str, core: Mapping[str, Any]) -> dict[str, Any]:
        """Return a conversion as the REST API's store has it."""
        seconds = _number(core.get("timestamp")) or Decimal(self._clock())
        return {
            "click_id": core.get("click_id") or "",
            "conversion_type": _TYPES.get(name, "custom"),
            "revenue": str(_number(core.get("value")) or 0),
            "currency": str(core.get("currency") or "USD"),
            "order_id": core.get("transaction_id"),
            "timestamp": datetime.fromtimestamp(float(seconds), UTC).isoformat(),
        }


_TYPE = b"content-type"


def _parameters(request: Request) -> dict[str, Any]:
    if request.method == "GET" or not request.body:
        return dict(parse_qsl(request.query.decode("latin-1")))
    data = request.json()
    if not isinstance(data, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as for any other wrong JSON
    return data


def _core(data: Mapping[str, Any]) -> dict[str, Any]:
    names = ((name.lower().replace("_", "").replace("-", ""), name) for name in data)
    return {_CORE[plain]: data[name] for plain, name in names if plain in _CORE}


def _event_name(core: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    # Without a name, a value makes it a purchase (AnyTrack, FAQ on funnel rules).
    name = core.get("event_name") or data.get("conversion_type")
    return str(name) if name else "Purchase" if _number(core.get("value")) else "Lead"


def _number(value: object) -> Decimal | None:
    try:
        return Decimal(str(value)) if value not in (None, "") else None
    except InvalidOperation:
        return None
