"""Send a batch of conversions as custom events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anytrack_async.destinations.hubspot.batch import Parcel, mapping_failed
from anytrack_async.destinations.hubspot.custom_event import to_event
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import Act
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.signals import Refused
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import DELIVERED, Outcome

_NOBODY = Outcome.rejected(
    "a custom event needs the customer's e-mail address, or custom_data['hubspotutk']",
    code="NO_IDENTITY",
)


async def write_events(
    portal: Portal, batch: Sequence[Conversion], settings: HubSpotSettings
) -> list[Outcome]:
    """Send up to 100 conversions as custom events; HubSpot answers nothing but a status.

    Raises:
        SinkSignal: what concerns the batch, with the outcomes that stand already.
    """
    parcel = Parcel(batch=batch)
    inputs = _inputs(parcel, settings)
    if inputs:
        await _send(portal, parcel, inputs)
    return parcel.unpack()


def _inputs(parcel: Parcel, settings: HubSpotSettings) -> dict[str, dict[str, Any]]:
    inputs: dict[str, dict[str, Any]] = {}
    for conversion in parcel.batch:
        event_id = conversion.event_id
        if event_id in inputs or event_id in parcel.outcomes:
            continue
        try:
            event = to_event(conversion, settings)
        except Exception as exc:
            parcel.outcomes[event_id] = mapping_failed(exc)
            continue
        if event is None:
            parcel.outcomes[event_id] = _NOBODY
        else:
            inputs[event_id] = event
    return inputs


async def _send(portal: Portal, parcel: Parcel, inputs: dict[str, dict[str, Any]]) -> None:
    try:
        await portal.write(portal.paths.events, list(inputs.values()), free=True)
    except Refused as exc:
        problem = exc.problem
        lone = problem.act in (Act.REJECT, Act.SPLIT, Act.EXISTS) and len(inputs) == 1
        if not lone and problem.act is not Act.LATER:
            raise parcel.signal(problem) from exc
        for event_id in inputs:
            parcel.settle(event_id, problem)
    else:
        parcel.outcomes |= dict.fromkeys(inputs, DELIVERED)
