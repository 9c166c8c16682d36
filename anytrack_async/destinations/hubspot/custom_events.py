"""Send a batch of conversions as custom events of contacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anytrack_async.destinations.hubspot.mapping import to_custom_event
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import (
    BatchOutcomes,
    HubSpotError,
    Problem,
    ProblemKind,
)
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.responses import confirms, confirms_without_body
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import DELIVERED, Outcome
from anytrack_async.transport.message import Response

_NO_IDENTITY = Outcome.rejected(
    "a custom event needs the customer's e-mail address, or custom_data['hubspotutk']",
    code="NO_IDENTITY",
)

# If a single event was sent, the response is about this event.
_DECIDED_IF_ALONE = (ProblemKind.REJECTED, ProblemKind.EXISTS)

_OWN_FIELDS = ("completedAt", "requestedAt", "startedAt", "results")


async def send_custom_events(
    portal: Portal, conversions: Sequence[Conversion], settings: HubSpotSettings
) -> list[Outcome]:
    """Send up to 100 conversions as custom events.

    HubSpot's response has no body, so it never says which of several events is bad: the lane halves
    a rejected batch until the bad event is alone.

    Raises:
        SinkSignal: the lane has to decide about the batch; the signal has the outcomes so far.
    """
    batch = BatchOutcomes(conversions=conversions)
    inputs = _map(batch, settings)
    if inputs:
        await _send(portal, batch, inputs)
    return batch.in_order()


def _map(batch: BatchOutcomes, settings: HubSpotSettings) -> dict[str, dict[str, Any]]:
    """Return event id → input, and record the conversions that cannot be events."""
    inputs: dict[str, dict[str, Any]] = {}
    for conversion in batch.conversions:
        event_id = conversion.event_id
        if event_id in inputs or event_id in batch.by_event_id:
            continue
        try:
            event = to_custom_event(conversion, settings)
        except Exception as exc:
            batch.record_mapping_failure(event_id, exc)
            continue
        if event is None:
            batch.by_event_id[event_id] = _NO_IDENTITY
        else:
            inputs[event_id] = event
    return inputs


async def _send(portal: Portal, batch: BatchOutcomes, inputs: dict[str, dict[str, Any]]) -> None:
    try:
        response = await portal.write(portal.paths.events, list(inputs.values()), counted=False)
        _check_confirmation(portal, response)
    except HubSpotError as exc:
        problem = exc.problem
        alone = len(inputs) == 1 and problem.kind in _DECIDED_IF_ALONE
        if not alone and problem.kind is not ProblemKind.RETRY_LATER:
            raise batch.signal(problem) from exc
        for event_id in inputs:
            batch.record_problem(event_id, problem)
    else:
        batch.by_event_id |= dict.fromkeys(inputs, DELIVERED)


def _check_confirmation(portal: Portal, response: Response) -> None:
    """Raise `HubSpotError` if *response*, a 2xx, is not HubSpot's: usually it has no body."""
    if confirms_without_body(response):
        return
    if not confirms(response, _OWN_FIELDS):
        message = f"the response (status {response.status}) does not confirm the events"
        problem = Problem(kind=ProblemKind.UNAVAILABLE, message=message, status=response.status)
        raise HubSpotError(problem, response.content)
    portal.confirmations.report_response(response)
