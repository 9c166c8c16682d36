"""Write a batch of conversions as contacts and deals, and link each deal with its contact."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Self

import attrs

from anytrack_async.destinations.hubspot.batch_results import (
    BatchResult,
    failed_inputs,
    mask_values,
    read_batch_result,
)
from anytrack_async.destinations.hubspot.links import (
    CONTACT_WITHOUT_ID,
    PERMANENT_FOR_LINKS,
    Link,
    link,
)
from anytrack_async.destinations.hubspot.mapping import to_contact, to_deal
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import (
    PROPERTY_MISSING,
    BatchOutcomes,
    HubSpotError,
    Problem,
    ProblemKind,
)
from anytrack_async.destinations.hubspot.responses import (
    json_or_none,
)
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.steps import ConfirmedInputs, Steps
from anytrack_async.destinations.responses import confirms_without_body
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status, delivered_as
from anytrack_async.transport.message import Response

_UNKNOWN_ID = ""
"""In place of the id of a record that HubSpot wrote without returning its id."""

_SETTING_OF_PROPERTY = {"pipeline": ("pipeline", "pipeline"), "dealstage": ("stage", "stages")}
"""Deal property → noun for its value, and the setting that the value comes from."""

_log = logging.getLogger("anytrack_async.hubspot")


async def write_deals(
    portal: Portal,
    conversions: Sequence[Conversion],
    settings: HubSpotSettings,
    confirmed: ConfirmedInputs,
) -> list[Outcome]:
    """Write up to 100 conversions: contacts, then deals, then links; repeating changes nothing.

    Raises:
        SinkSignal: the lane has to decide about some conversions; the signal has the outcomes of
            the others.
    """
    # A batch of 100 conversions becomes three requests, for example:
    # 1. upsert contacts: 90 conversions have an e-mail address, of 60 customers. HubSpot refuses
    #    two equal ids in a batch, so 60 contacts are sent, each with the properties of all of a
    #    customer's conversions.
    # 2. upsert deals: 98 of them, if two event ids occur twice.
    # 3. link: a pair of ids for each deal that was written and has a contact, here 88.
    # If HubSpot refuses a request and names the bad inputs, the request is sent again without them.
    # If it names none, the lane halves the batch.
    # What HubSpot has confirmed of a batch that fails is not sent again, see `Steps`.
    batch = DealBatch.build(conversions, settings)
    steps = Steps(confirmed)
    try:
        await _write(portal, batch, steps, settings)
    except HubSpotError as exc:
        raise batch.signal(exc.problem) from exc
    finally:
        batch.end(steps)
    return batch.in_order()


async def _write(portal: Portal, batch: DealBatch, steps: Steps, settings: HubSpotSettings) -> None:
    send = partial(upsert, portal)
    contacts = await steps.upsert("contacts", list(batch.contacts.values()), send)
    deals = await steps.upsert("deals", list(batch.deals.values()), send)
    deal_ids = _record_deals(batch, deals, settings)
    links = _record_contacts(batch, deal_ids, contacts)
    if links:
        await _link(portal, batch, links, steps)


@attrs.define(kw_only=True)
class DealBatch(BatchOutcomes):
    """A batch of conversions as inputs for HubSpot, and their outcomes.

    Attributes:
        deals: event id → input that writes its deal.
        contacts: e-mail address → input that writes its contact.
        emails: event id → e-mail address of its contact.
        rewritten: ids of the events with records that the next attempt has to write again.
    """

    deals: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    contacts: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    emails: dict[str, str] = attrs.field(factory=dict)
    rewritten: set[str] = attrs.field(factory=set)

    @classmethod
    def build(cls, conversions: Sequence[Conversion], settings: HubSpotSettings) -> Self:
        """Map *conversions* to inputs with different ids.

        If conversions share an event id, the first is written. A customer's conversions share one
        contact.
        """
        batch = cls(conversions=conversions)
        deals, outcomes, has_contacts = batch.deals, batch.by_event_id, settings.contacts
        for conversion in conversions:
            event_id = conversion.event_id
            if event_id in deals or event_id in outcomes:
                continue
            try:
                contact = to_contact(conversion, settings) if has_contacts else None
                deals[event_id] = to_deal(conversion, settings)
            except Exception as exc:
                batch.record_mapping_failure(event_id, exc)
                continue
            if contact is not None:
                batch._add_contact(event_id, contact)
        return batch

    def record_unlinked(self, event_id: str, problem: Problem) -> None:
        """Record that a deal was written but has no link to its contact.

        If that is permanent, the deal counts as delivered: a bad contact must not lose it.
        """
        if problem.kind in PERMANENT_FOR_LINKS:
            _log.warning("hubspot: deal of conversion %s has no contact: %s", event_id, problem)
        else:
            message = f"the deal was written but is not linked to its contact: {problem.message}"
            self.record_problem(event_id, attrs.evolve(problem, message=message))

    def end(self, steps: Steps) -> None:
        """Let the next attempt skip the confirmed steps of undelivered conversions."""
        unfinished = {
            event_id
            for event_id in self.deals
            if (outcome := self.by_event_id.get(event_id)) is None or outcome.status is Status.RETRY
        }
        emails = {self.emails[event_id] for event_id in unfinished if event_id in self.emails}
        unfinished -= self.rewritten
        emails -= {self.emails[event_id] for event_id in self.rewritten}
        steps.end("deals", *_divide(self.deals, unfinished))
        steps.end("contacts", *_divide(self.contacts, emails))

    def _add_contact(self, event_id: str, contact: dict[str, Any]) -> None:
        email = self.emails[event_id] = contact["id"]
        first = self.contacts.setdefault(email, contact)
        first["properties"] |= contact["properties"]


async def upsert(portal: Portal, object_type: str, inputs: Sequence[dict[str, Any]]) -> BatchResult:
    """Create or update up to 100 records, with different ids and trace ids.

    Raises:
        HubSpotError: no record was written, and HubSpot names no input as the reason.
    """
    failed: dict[str, Problem] = {}
    while inputs:
        try:
            response = await portal.write(portal.paths.upsert(object_type), inputs)
            result = _read_result(portal, inputs, response)
        except HubSpotError as exc:
            problems = failed_inputs(inputs, exc.problem, json_or_none(exc.content))
            if not problems:
                raise HubSpotError(mask_values(inputs, exc.problem), exc.content) from exc
            failed |= problems
            # A batch with one bad input writes nothing: send the good inputs again.
            inputs = [item for item in inputs if item["objectWriteTraceId"] not in failed]
        else:
            return attrs.evolve(result, problems=result.problems | failed)
    return BatchResult(problems=failed)


def _read_result(
    portal: Portal, inputs: Sequence[dict[str, Any]], response: Response
) -> BatchResult:
    if not confirms_without_body(response):
        return read_batch_result(inputs, portal.read_batch_response(response))
    portal.confirmations.report_response(response)
    return BatchResult(record_ids={item["objectWriteTraceId"]: _UNKNOWN_ID for item in inputs})


def _record_deals(
    batch: DealBatch, result: BatchResult, settings: HubSpotSettings
) -> dict[str, str]:
    """Record the outcome of each deal, and return event id → deal id of the written deals."""
    deal_ids = {}
    problems, record_ids, outcomes = result.problems, result.record_ids, batch.by_event_id
    for event_id, deal in batch.deals.items():
        problem = problems.get(event_id) if problems else None
        if problem is not None and problem.kind is not ProblemKind.EXISTS:
            problem = _check_configuration(problem, deal["properties"], settings)
            batch.record_problem(event_id, problem)
            continue
        deal_id = problem.record_id if problem else record_ids[event_id]
        outcomes[event_id] = delivered_as(deal_id or None)
        if deal_id:
            deal_ids[event_id] = deal_id
    return deal_ids


def _check_configuration(
    problem: Problem, properties: Mapping[str, str], settings: HubSpotSettings
) -> Problem:
    """Return NEEDS_OPERATOR if the portal lacks a pipeline, stage or property of the settings.

    Otherwise every conversion would be rejected. Properties that a function of the settings returns
    may be wrong for one conversion only, so such a problem stays REJECTED.
    """
    name = problem.property_name or ""
    if problem.kind is not ProblemKind.REJECTED or callable(settings.properties):
        return problem
    if name in settings.properties:
        if problem.property_fault != PROPERTY_MISSING:
            return problem
        advice = (
            f"create the deal property {name!r} in HubSpot, "
            "or remove it from HubSpotSettings(properties=…)"
        )
    elif name in _SETTING_OF_PROPERTY:
        noun, setting = _SETTING_OF_PROPERTY[name]
        advice = (
            f"HubSpot does not accept the {noun} {properties.get(name)!r}: "
            f"set HubSpotSettings({setting}=…) to one that exists there"
        )
    else:
        return problem
    return attrs.evolve(
        problem,
        kind=ProblemKind.NEEDS_OPERATOR,
        cause="configuration",
        advice=advice,
    )


# Links between deals and contacts


def _record_contacts(
    batch: DealBatch, deal_ids: Mapping[str, str], result: BatchResult
) -> dict[str, Link]:
    """Return event id → link to make; record the deals for which no contact was written."""
    links = {}
    for event_id, deal_id in deal_ids.items():
        email = batch.emails.get(event_id)
        if email is None:
            continue
        trace_id = batch.contacts[email]["objectWriteTraceId"]
        problem = result.problems.get(trace_id)
        contact_id = problem.record_id if problem else result.record_ids[trace_id]
        if contact_id == _UNKNOWN_ID:
            problem = CONTACT_WITHOUT_ID
        if problem is None or (problem.kind is ProblemKind.EXISTS and contact_id):
            links[event_id] = (deal_id, str(contact_id))
            continue
        if problem.kind is ProblemKind.EXISTS:
            # HubSpot does not say which contact exists; the next upsert will find its id.
            problem = attrs.evolve(problem, kind=ProblemKind.RETRY_LATER)
        batch.record_unlinked(event_id, problem)
    return links


async def _link(portal: Portal, batch: DealBatch, links: Mapping[str, Link], steps: Steps) -> None:
    try:
        problems = await steps.run(lambda: link(portal, list(links.values())))
    except BaseException:
        for event_id in links:
            batch.by_event_id.pop(event_id, None)
        raise
    for event_id, pair in links.items():
        if pair in problems:
            trace_ids = {event_id, batch.contacts[batch.emails[event_id]]["objectWriteTraceId"]}
            problem = problems[pair]
            if problem.kind in PERMANENT_FOR_LINKS and trace_ids & steps.reused:
                # Perhaps a record was deleted since it was confirmed: write both again.
                problem = attrs.evolve(problem, kind=ProblemKind.RETRY_LATER)
                batch.rewritten.add(event_id)
            batch.record_unlinked(event_id, problem)


def _divide(
    inputs: Mapping[str, dict[str, Any]], unfinished: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if not unfinished:
        return [], list(inputs.values())
    return (
        [item for key, item in inputs.items() if key in unfinished],
        [item for key, item in inputs.items() if key not in unfinished],
    )
