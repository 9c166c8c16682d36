"""Write a batch of conversions as contacts, deals, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from anytrack_async.destinations.hubspot.associations import Link, link
from anytrack_async.destinations.hubspot.batch import Parcel, pack
from anytrack_async.destinations.hubspot.batch_result import Accounts
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import MISSING, RESUME, Act, Problem
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.signals import Refused
from anytrack_async.destinations.hubspot.upsert import upsert
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome

_NAMED_BY = {"pipeline": ("pipeline", "pipeline"), "dealstage": ("stage", "stages")}
"""Deal property → what it holds, and the setting that names it."""


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
        raise parcel.signal(exc.problem) from exc
    written = _enter_deals(parcel, deals, settings)
    links = _enter_contacts(parcel, written, people)
    if links:
        await _link(portal, parcel, links)
    return parcel.unpack()


def _enter_deals(parcel: Parcel, deals: Accounts, settings: HubSpotSettings) -> dict[str, str]:
    """Return event id → deal id of those written."""
    written = {}
    for event_id in parcel.deals:
        problem = deals.problems.get(event_id)
        if problem is not None and problem.act is not Act.EXISTS:
            sent = parcel.deals[event_id]["properties"]
            parcel.settle(event_id, _misconfigured(problem, sent, settings))
            continue
        deal_id = problem.remote_id if problem else deals.ids[event_id]
        parcel.outcomes[event_id] = Outcome.delivered(deal_id)
        if deal_id is not None:
            written[event_id] = deal_id
    return written


def _misconfigured(problem: Problem, sent: Mapping[str, str], settings: HubSpotSettings) -> Problem:
    """Return a hold where the portal lacks a pipeline, stage or property that the settings name.

    What a function of the settings returns may be one conversion's fault and stays rejected.
    """
    name = problem.property or ""
    if problem.act is not Act.REJECT or callable(settings.properties):
        return problem
    if name in settings.properties:
        if problem.reason != MISSING:
            return problem
        advice = (
            f"create the deal property {name!r} in HubSpot, "
            "or take it out of HubSpotSettings(properties=…)"
        )
    elif name in _NAMED_BY:
        noun, setting = _NAMED_BY[name]
        advice = (
            f"HubSpot does not accept the {noun} {sent.get(name)!r}: "
            f"set HubSpotSettings({setting}=…) to one that it has"
        )
    else:
        return problem
    return attrs.evolve(problem, act=Act.HOLD, cause="configuration", advice=f"{advice}; {RESUME}")


def _enter_contacts(
    parcel: Parcel, written: Mapping[str, str], people: Accounts
) -> dict[str, Link]:
    """Return event id → link of those whose contact was written."""
    links = {}
    for event_id, deal_id in written.items():
        email = parcel.customers.get(event_id)
        if email is None:
            continue
        trace = parcel.contacts[email]["objectWriteTraceId"]
        problem = people.problems.get(trace)
        contact_id = problem.remote_id if problem else people.ids[trace]
        if problem is None or (problem.act is Act.EXISTS and contact_id):
            links[event_id] = (deal_id, str(contact_id))
        else:
            parcel.unlinked(event_id, _unknown(problem))
    return links


def _unknown(problem: Problem) -> Problem:
    # A contact that exists, but whose id HubSpot does not tell, is found by the next upsert.
    return attrs.evolve(problem, act=Act.LATER) if problem.act is Act.EXISTS else problem


async def _link(portal: Portal, parcel: Parcel, links: Mapping[str, Link]) -> None:
    try:
        problems = await link(portal, list(links.values()))
    except Refused as exc:
        for event_id in links:
            parcel.outcomes.pop(event_id, None)
        raise parcel.signal(exc.problem) from exc
    for event_id, made in links.items():
        if made in problems:
            parcel.unlinked(event_id, problems[made])
