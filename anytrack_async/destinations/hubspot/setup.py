"""Create the deal properties that conversions are written to: shown first, never silently."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal

import attrs
import orjson

from anytrack_async.destinations.hubspot.deal import KEY
from anytrack_async.destinations.hubspot.paths import Path
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.signals import Refused, to_error
from anytrack_async.destinations.sink import SetupStep
from anytrack_async.errors import ConfigurationError

STANDARD_GROUP = "dealinformation"

LABELS: Mapping[str, str] = {
    KEY: "AnyTrack event ID",
    "anytrack_source": "AnyTrack source",
    "anytrack_campaign_id": "AnyTrack campaign ID",
    "anytrack_click_id": "AnyTrack click ID",
    "anytrack_conversion_type": "AnyTrack conversion type",
    "anytrack_ad_id": "AnyTrack ad ID",
    "anytrack_order_id": "AnyTrack order ID",
}
"""Deal property → its label in HubSpot."""


async def set_up(portal: Portal, settings: HubSpotSettings, *, dry_run: bool) -> list[SetupStep]:
    """Create the property group and the deal properties that are missing; see `HubSpotSink.setup`.

    Source: HubSpot, CRM API, properties, "Create a property" and "Create unique identifiers".
    """
    try:
        plan = [step async for step in _plan(portal, settings)]
        refused = [step for step in plan if step.action == "refused"]
        if dry_run:
            return plan
        if refused:
            raise ConfigurationError("HubSpot set-up: " + "; ".join(map(str, refused)))
        return [await _carry_out(portal, settings, step) for step in plan]
    except Refused as exc:
        raise to_error(exc.problem) from exc


async def _plan(portal: Portal, settings: HubSpotSettings) -> AsyncIterator[SetupStep]:
    group = settings.property_group
    if group != STANDARD_GROUP:
        there = await _find(portal, (*portal.paths.properties, "groups", group))
        yield SetupStep(action="exists" if there else "create", kind="property group", name=group)
    for name in LABELS:
        there = await _find(portal, (*portal.paths.properties, name))
        yield (
            _judged(name, there)
            if there
            else SetupStep(action="create", kind="property", name=name)
        )


async def _find(portal: Portal, path: Path) -> Mapping[str, Any] | None:
    try:
        found = await portal.read(path)
    except Refused as exc:
        if exc.problem.status == 404:
            return None
        raise
    return found if isinstance(found, Mapping) else None


def _judged(name: str, there: Mapping[str, Any]) -> SetupStep:
    faults = "; ".join(faults_of(name, there))
    action: Literal["refused", "exists"] = "refused" if faults else "exists"
    return SetupStep(action=action, kind="property", name=name, reason=faults or None)


def faults_of(name: str, there: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the existing property *there* cannot be our property *name*."""
    if there.get("type") != "string":
        yield f"it has the type {there.get('type')!r}, not 'string'"
    if name == KEY and there.get("hasUniqueValue") is not True:
        yield "its values are not unique, which HubSpot cannot change later: delete or rename it"


async def _carry_out(portal: Portal, settings: HubSpotSettings, step: SetupStep) -> SetupStep:
    if step.action != "create":
        return step
    path = portal.paths.properties
    if step.kind == "property group":
        path, body = (*path, "groups"), {"name": step.name, "label": "AnyTrack"}
    else:
        body = definition(step.name, settings.property_group)
    try:
        await portal.call("POST", path, orjson.dumps(body))
    except Refused as exc:
        if exc.problem.status != 409:
            raise
        return await _existing(portal, step)
    return attrs.evolve(step, action="created")


async def _existing(portal: Portal, step: SetupStep) -> SetupStep:
    """Return what to say of something that was created by someone else meanwhile."""
    if step.kind == "property group":
        return attrs.evolve(step, action="exists")
    there = await _find(portal, (*portal.paths.properties, step.name))
    judged = _judged(step.name, there or {})
    if judged.action == "refused":
        raise ConfigurationError(f"HubSpot set-up: {judged}")
    return judged


def definition(name: str, group: str) -> dict[str, Any]:
    """Return what creates our property *name*."""
    unique = {"hasUniqueValue": True} if name == KEY else {}
    return {
        "name": name,
        "label": LABELS[name],
        "type": "string",
        "fieldType": "text",
        "groupName": group,
        **unique,
    }
