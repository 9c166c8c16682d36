"""Prepare a portal: create the deal properties that deliveries write, and check everything else.

`HubSpotSink.setup` calls `create_properties`; `HubSpotSink.check` calls `check_portal`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import timedelta, timezone, tzinfo
from typing import Any, Literal

import attrs
import orjson

from anytrack_async.destinations.hubspot.mapping import EVENT_ID_PROPERTY
from anytrack_async.destinations.hubspot.portal import Path, Portal
from anytrack_async.destinations.hubspot.problem import HubSpotError, ProblemKind, to_error
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, resolve_pipelines
from anytrack_async.destinations.sink import Finding, SetupStep
from anytrack_async.errors import ConfigurationError

DEAL_PROPERTIES: Mapping[str, str] = {
    EVENT_ID_PROPERTY: "AnyTrack event ID",
    "anytrack_source": "AnyTrack source",
    "anytrack_campaign_id": "AnyTrack campaign ID",
    "anytrack_click_id": "AnyTrack click ID",
    "anytrack_conversion_type": "AnyTrack conversion type",
    "anytrack_ad_id": "AnyTrack ad ID",
    "anytrack_order_id": "AnyTrack order ID",
}
"""Deal property → its label in HubSpot."""

_STANDARD_GROUP = "dealinformation"
"""The property group that every portal has."""


# Setup


async def create_properties(
    portal: Portal, settings: HubSpotSettings, *, dry_run: bool
) -> list[SetupStep]:
    """Create the property group and the deal properties that are missing.

    Raises:
        ConfigurationError: a property of that name exists but is unusable. Nothing was created,
            unless another program created that property meanwhile.
        ServiceError: HubSpot refused a request, or did not respond.

    Source: HubSpot, CRM API, properties, "Create a property" and "Create unique identifiers".
    """
    try:
        plan = [step async for step in _plan(portal, settings)]
        if dry_run:
            return plan
        # Every property is compared before the first is created: no portal is left half set up.
        if refused := [step for step in plan if step.action == "refused"]:
            raise ConfigurationError("HubSpot setup: " + "; ".join(map(str, refused)))
        return [await _carry_out(portal, settings, step) for step in plan]
    except HubSpotError as exc:
        raise to_error(exc.problem) from exc


def property_definition(name: str, group: str) -> dict[str, Any]:
    """Return the body of the request that creates our property *name*."""
    unique = {"hasUniqueValue": True} if name == EVENT_ID_PROPERTY else {}
    return {
        "name": name,
        "label": DEAL_PROPERTIES[name],
        "type": "string",
        "fieldType": "text",
        "groupName": group,
        **unique,
    }


async def _plan(portal: Portal, settings: HubSpotSettings) -> AsyncIterator[SetupStep]:
    group = settings.property_group
    if group != _STANDARD_GROUP:
        exists = await _read(portal, (*portal.paths.properties, "groups", group)) is not None
        action: Literal["exists", "create"] = "exists" if exists else "create"
        yield SetupStep(action=action, kind="property group", name=group)
    for name in DEAL_PROPERTIES:
        definition = await _read(portal, (*portal.paths.properties, name))
        if definition is None:
            yield SetupStep(action="create", kind="property", name=name)
        else:
            yield _compare(name, definition)


async def _carry_out(portal: Portal, settings: HubSpotSettings, step: SetupStep) -> SetupStep:
    if step.action != "create":
        return step
    path = portal.paths.properties
    if step.kind == "property group":
        path, body = (*path, "groups"), {"name": step.name, "label": "AnyTrack"}
    else:
        body = property_definition(step.name, settings.property_group)
    try:
        await portal.call("POST", path, orjson.dumps(body))
    except HubSpotError as exc:
        if exc.problem.status != 409:
            raise
        # Another program created it after the plan was made.
        return await _compare_again(portal, step)
    return attrs.evolve(step, action="created")


async def _compare_again(portal: Portal, step: SetupStep) -> SetupStep:
    if step.kind == "property group":
        return attrs.evolve(step, action="exists")
    definition = await _read(portal, (*portal.paths.properties, step.name))
    compared = _compare(step.name, definition or {})
    if compared.action == "refused":
        raise ConfigurationError(f"HubSpot setup: {compared}")
    return compared


def _compare(name: str, definition: Mapping[str, Any]) -> SetupStep:
    faults = "; ".join(_property_faults(name, definition))
    action: Literal["refused", "exists"] = "refused" if faults else "exists"
    return SetupStep(action=action, kind="property", name=name, reason=faults or None)


def _property_faults(name: str, definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the reasons why an existing property cannot be our property *name*."""
    if definition.get("type") != "string":
        yield f"it has the type {definition.get('type')!r}, not 'string'"
    if name == EVENT_ID_PROPERTY and definition.get("hasUniqueValue") is not True:
        yield "its values are not unique, which cannot be changed later: delete the property"


async def _read(portal: Portal, path: Path) -> Mapping[str, Any] | None:
    """Return the object at *path*; None if there is none."""
    try:
        body = await portal.read(path)
    except HubSpotError as exc:
        if exc.problem.status == 404:
            return None
        raise
    return body if isinstance(body, Mapping) and body else None


# Check


async def check_portal(
    portal: Portal, settings: HubSpotSettings, currencies: Iterable[str]
) -> list[Finding]:
    """Check token, scopes, properties, stages and currencies, and return the findings.

    Writes nothing. Sets the portal's time zone if it was not known.
    """
    try:
        account = await portal.read(portal.paths.account)
    except HubSpotError as exc:
        if exc.problem.status != 403:  # a valid token may lack the scope to read the account
            return [Finding(name="token", ok=False, message=str(exc.problem))]
        account = None
    portal.zone = portal.zone or _time_zone(account)
    findings = [Finding(name="token", ok=True, message=_accepted_by(account))]
    if settings.mode == "events":
        return [*findings, await _check_scopes(portal, "events", portal.paths.events)]
    object_types = ["deals", "contacts"] if settings.contacts else ["deals"]
    findings += [
        await _check_scopes(portal, object_type, portal.paths.upsert(object_type))
        for object_type in object_types
    ]
    findings += [await _check_property(portal, name) for name in _property_names(settings)]
    return [
        *findings,
        await _check_stages(portal, settings),
        *_check_currencies(account, currencies),
    ]


def _property_names(settings: HubSpotSettings) -> list[str]:
    configured = settings.properties if isinstance(settings.properties, Mapping) else {}
    return list(dict.fromkeys([*DEAL_PROPERTIES, *configured]))


_OBJECTIONS = (ProblemKind.REJECTED, ProblemKind.INCONCLUSIVE, ProblemKind.BATCH_REJECTED)


async def _check_scopes(portal: Portal, object_type: str, path: Path) -> Finding:
    """Check by an empty batch, which writes nothing, whether the token has the scope to write."""
    name = f"scopes: {object_type}"
    try:
        await portal.write(path, [])
    except HubSpotError as exc:
        # HubSpot checks the scope first. If it objects to the empty batch, the token has it.
        if exc.problem.kind not in _OBJECTIONS:
            return Finding(name=name, ok=False, message=str(exc.problem))
    return Finding(name=name, ok=True, message=f"the token may write {object_type}")


async def _check_property(portal: Portal, property_name: str) -> Finding:
    name = f"property {property_name}"
    created_by_setup = property_name in DEAL_PROPERTIES
    try:
        definition = await portal.read((*portal.paths.properties, property_name))
    except HubSpotError as exc:
        if exc.problem.status != 404:
            return Finding(name=name, ok=False, message=str(exc.problem))
        advice = (
            "`anytrack setup hubspot` creates it" if created_by_setup else "create it in HubSpot"
        )
        message = f"HubSpot has no such deal property; {advice}"
        return Finding(name=name, ok=False, message=message, setup=created_by_setup)
    if not isinstance(definition, Mapping):
        definition = {}
    faults = "; ".join(_property_faults(property_name, definition)) if created_by_setup else ""
    return Finding(name=name, ok=not faults, message=faults or "exists")


async def _check_stages(portal: Portal, settings: HubSpotSettings) -> Finding:
    try:
        resolve_pipelines(settings, await portal.read(portal.paths.pipelines))
    except HubSpotError as exc:
        return Finding(name="stages", ok=False, message=str(exc.problem))
    except ConfigurationError as exc:
        return Finding(name="stages", ok=False, message=str(exc))
    return Finding(name="stages", ok=True, message="all pipelines and stages exist")


def _check_currencies(account: Any, currencies: Iterable[str]) -> list[Finding]:
    codes = list(dict.fromkeys(code.strip().upper() for code in currencies))
    if not isinstance(account, Mapping):
        message = "unknown: the token may not read the account's currencies"
        return [Finding(name=f"currency {code}", ok=False, message=message) for code in codes]
    enabled = [str(account.get("companyCurrency")), *(account.get("additionalCurrencies") or [])]
    message = "enabled: " + ", ".join(map(str, enabled))
    return [
        Finding(name=f"currency {code}", ok=code in enabled, message=message) for code in codes
    ] or [Finding(name="currencies", ok=True, message=message)]


def _accepted_by(account: Any) -> str:
    portal_id = account.get("portalId") if isinstance(account, Mapping) else None
    return f"accepted by portal {portal_id}" if portal_id else "accepted"


def _time_zone(account: Any) -> tzinfo | None:
    millis = account.get("utcOffsetMilliseconds") if isinstance(account, Mapping) else None
    try:
        return timezone(timedelta(milliseconds=millis)) if isinstance(millis, int) else None
    except (OverflowError, ValueError):  # a day or more
        return None
