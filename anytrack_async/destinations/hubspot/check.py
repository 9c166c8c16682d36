"""Find out whether a portal is ready for deliveries, without writing anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta, timezone, tzinfo
from typing import Any

from anytrack_async.destinations.hubspot.paths import Path
from anytrack_async.destinations.hubspot.pipelines import resolved
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import Act
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.setup import LABELS, faults_of
from anytrack_async.destinations.hubspot.signals import Refused
from anytrack_async.destinations.sink import Finding
from anytrack_async.errors import ConfigurationError


async def examine(
    portal: Portal, settings: HubSpotSettings, currencies: Iterable[str]
) -> list[Finding]:
    """Return what was found; see `HubSpotSink.check`."""
    try:
        account = await portal.read(portal.paths.account)
    except Refused as exc:
        if exc.problem.status != 403:  # a token may be good and not see the account
            return [Finding(name="token", ok=False, message=str(exc.problem))]
        account = None
    portal.zone = portal.zone or _zone(account)
    findings = [Finding(name="token", ok=True, message=_portal_name(account))]
    if settings.mode == "events":
        return [*findings, await _may_write(portal, "events", portal.paths.events)]
    findings += [
        await _may_write(portal, kind, portal.paths.upsert(kind)) for kind in _kinds(settings)
    ]
    findings += [await _property(portal, name) for name in _names(settings)]
    return [*findings, await _stages(portal, settings), *_currencies(account, currencies)]


def _kinds(settings: HubSpotSettings) -> list[str]:
    return ["deals", "contacts"] if settings.contacts else ["deals"]


def _names(settings: HubSpotSettings) -> list[str]:
    own = settings.properties if isinstance(settings.properties, Mapping) else {}
    return list(dict.fromkeys([*LABELS, *own]))


async def _may_write(portal: Portal, kind: str, path: Path) -> Finding:
    """Return whether the token may write: an empty batch writes nothing, and asks for the scope."""
    name = f"scopes: {kind}"
    try:
        await portal.write(path, [])
    except Refused as exc:
        # That an empty batch makes no sense is said only to one who may write.
        if exc.problem.act not in (Act.REJECT, Act.SPLIT):
            return Finding(name=name, ok=False, message=str(exc.problem))
    return Finding(name=name, ok=True, message=f"the token may write {kind}")


async def _property(portal: Portal, prop: str) -> Finding:
    name = f"property {prop}"
    try:
        there = await portal.read((*portal.paths.properties, prop))
    except Refused as exc:
        if exc.problem.status != 404:
            return Finding(name=name, ok=False, message=str(exc.problem))
        ours = prop in LABELS
        advice = "; HubSpotSink.setup() creates it" if ours else ""
        message = f"HubSpot has no such deal property{advice}"
        return Finding(name=name, ok=False, message=message, setup=ours)
    known = there if isinstance(there, Mapping) else {}
    faults = "; ".join(faults_of(prop, known)) if prop in LABELS else ""
    return Finding(name=name, ok=not faults, message=faults or "there")


async def _stages(portal: Portal, settings: HubSpotSettings) -> Finding:
    try:
        resolved(settings, await portal.read(portal.paths.pipelines))
    except Refused as exc:
        return Finding(name="stages", ok=False, message=str(exc.problem))
    except ConfigurationError as exc:
        return Finding(name="stages", ok=False, message=str(exc))
    return Finding(name="stages", ok=True, message="all pipelines and stages are there")


def _currencies(account: Any, wanted: Iterable[str]) -> list[Finding]:
    codes = list(dict.fromkeys(code.strip().upper() for code in wanted))
    if not isinstance(account, Mapping):
        message = "not known: the token may not read the account"
        return [Finding(name=f"currency {code}", ok=False, message=message) for code in codes]
    enabled = [str(account.get("companyCurrency")), *(account.get("additionalCurrencies") or [])]
    message = "enabled: " + ", ".join(map(str, enabled))
    return [
        Finding(name=f"currency {code}", ok=code in enabled, message=message) for code in codes
    ] or [Finding(name="currencies", ok=True, message=message)]


def _portal_name(account: Any) -> str:
    portal = account.get("portalId") if isinstance(account, Mapping) else None
    return f"accepted by portal {portal}" if portal else "accepted"


def _zone(account: Any) -> tzinfo | None:
    millis = account.get("utcOffsetMilliseconds") if isinstance(account, Mapping) else None
    return timezone(timedelta(milliseconds=millis)) if isinstance(millis, int) else None
