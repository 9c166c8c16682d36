"""Write a batch of conversions as contacts, deals, and the links between them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from anytrack_async.models import Conversion, Outcome
from anytrack_async.settings import HubSpotSettings
from anytrack_async.sinks.hubspot.batch import Accounts
from anytrack_async.sinks.hubspot.contact import to_contact
from anytrack_async.sinks.hubspot.deal import to_deal
from anytrack_async.sinks.hubspot.errors import Act, Problem
from anytrack_async.sinks.hubspot.links import Link, link
from anytrack_async.sinks.hubspot.portal import Portal
from anytrack_async.sinks.hubspot.signals import Refused, to_outcome, to_signal, told
from anytrack_async.sinks.hubspot.upsert import upsert

_log = logging.getLogger("anytrack_async.hubspot")


@attrs.define
class Parcel:
    """What one batch becomes.

    Attributes:
        deals: event id → input.
        contacts: e-mail address → input.
        customers: event id → e-mail address.
        outcomes: event id → what became of it.
    """

    deals: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    contacts: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    customers: dict[str, str] = attrs.field(factory=dict)
    outcomes: dict[str, Outcome] = attrs.field(factory=dict)


def pack(batch: Sequence[Conversion], settings: HubSpotSettings) -> Parcel:
    """Return *batch* as inputs without repeats: HubSpot refuses a batch with two equal ids.

    Of equal event ids the first stands; what several conversions tell of one customer is joined.
    """
    parcel = Parcel()
    for conversion in batch:
        event_id = conversion.event_id
        if event_id in parcel.deals or event_id in parcel.outcomes:
            continue
        try:
            parcel.deals[event_id] = to_deal(conversion, settings)
        except Exception as exc:  # noqa: BLE001 - whatever a function in the settings may raise
            parcel.outcomes[event_id] = Outcome.rejected(_no_deal(exc), code="MAPPING_FAILED")
            continue
        if contact := to_contact(conversion, settings):
            _add(parcel, event_id, contact)
    return parcel


def _no_deal(exc: Exception) -> str:
    # The text of the exception may quote the conversion.
    return f"deal_name or properties of the settings failed ({type(exc).__name__})"


def _add(parcel: Parcel, event_id: str, contact: dict[str, Any]) -> None:
    email = parcel.customers[event_id] = contact["id"]
    known = parcel.contacts.setdefault(email, contact)
    known["properties"] |= contact["properties"]


async def write_deals(
    portal: Portal, batch: Sequence[Conversion], settings: HubSpotSettings
) -> list[Outcome]:
    """Write up to 100 conversions: contacts, then deals, then links; repeating changes nothing.

    Raises:
        SinkSignal: what concerns the batch, with the outcomes that stand already.
    """
    parcel = pack(batch, settings)
    try:
        people = await upsert(portal, "contacts", list(parcel.contacts.values()))
        deals = await upsert(portal, "deals", list(parcel.deals.values()))
    except Refused as exc:
        raise to_signal(exc.problem, _settled(batch, parcel.outcomes)) from exc
    held = _enter(parcel, deals, people)
    ...
