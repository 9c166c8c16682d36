"""From configured pipelines and stages, by id or label, to the portal's internal ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import ConversionType

_STAGES = frozenset(
    {
        "appointmentscheduled",
        "qualifiedtobuy",
        "presentationscheduled",
        "decisionmakerboughtin",
        "contractsent",
        "closedwon",
        "closedlost",
    }
)


def is_plain(settings: HubSpotSettings) -> bool:
    """Tell whether the settings name only what every portal has, so that nothing is looked up."""
    return set(settings.pipeline.values()) == {"default"} and _STAGES.issuperset(
        settings.stages.values()
    )


def resolved(settings: HubSpotSettings, response: Any) -> HubSpotSettings:
    """Return *settings* with internal ids for labels.

    Args:
        settings: what was configured.
        response: the portal's deal pipelines.

    Raises:
        ConfigurationError: the portal has no such pipeline or stage; the message lists what it has.

    Source: HubSpot, CRM API, pipelines, "Return all pipelines".
    """
    pipelines = _active(response.get("results") if isinstance(response, Mapping) else None)
    ids, stages = {}, {}
    for kind in ConversionType:
        pipeline = _chosen("HubSpot", "pipeline", "pipeline", settings.pipeline[kind], pipelines)
        inner = _active(pipeline.get("stages"))
        owner = f"HubSpot's pipeline {_shown(pipeline)}"
        stage = _chosen(owner, "stage", "stages", settings.stages[kind], inner)
        ids[kind], stages[kind] = str(pipeline["id"]), str(stage["id"])
    return attrs.evolve(settings, pipeline=ids, stages=stages)


def _chosen(
    owner: str, what: str, setting: str, name: str, among: list[Mapping[str, Any]]
) -> Mapping[str, Any]:
    by_id = [one for one in among if str(one["id"]) == name]
    found = by_id or [one for one in among if _label(one).casefold() == name.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(map(_shown, found))
        raise ConfigurationError(
            f"{owner} has more than one {what} named {name!r}; "
            f"use its id in HubSpotSettings({setting}=…): {ids}"
        )
    choice = ", ".join(map(_shown, among)) or "none there is yet"
    raise ConfigurationError(
        f"{owner} has no {what} {name!r}: set HubSpotSettings({setting}=…) to one of {choice}, "
        f"or create the {what} in HubSpot"
    )


def _active(items: Any) -> list[Mapping[str, Any]]:
    given: Iterable[Any] = items if isinstance(items, list) else ()
    known = (one for one in given if isinstance(one, Mapping) and one.get("id"))
    return [one for one in known if not one.get("archived")]


def _label(one: Mapping[str, Any]) -> str:
    return str(one.get("label") or "").strip()


def _shown(one: Mapping[str, Any]) -> str:
    return f"{_label(one)!r} ({one['id']})"
