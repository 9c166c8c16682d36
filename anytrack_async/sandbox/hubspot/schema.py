"""The schema of a portal: object properties, and the pipelines and stages of deals.

Source: HubSpot: properties API; default deal and contact properties; pipelines API.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from anytrack_async.sandbox.hubspot.messages import HubSpotError, invalid, not_found, objects_in
from anytrack_async.sandbox.settings import HubSpotPortal

PORTAL_ID = 62515
DEAL_GROUP = "dealinformation"
CONTACT_GROUP = "contactinformation"
ANYTRACK_PROPERTIES = (
    "anytrack_source",
    "anytrack_campaign_id",
    "anytrack_click_id",
    "anytrack_conversion_type",
    "anytrack_ad_id",
    "anytrack_order_id",
)
MAX_UNIQUE = 10
_TYPES = ("string", "number", "date", "datetime", "enumeration", "bool", "phone_number")
_DEAL_TEXTS = ("dealname", "description", "hs_next_step", "hubspot_owner_id")
_CONTACT_TEXTS = (
    "firstname",
    "lastname",
    "phone",
    "mobilephone",
    "company",
    "website",
    "jobtitle",
    "address",
    "city",
    "state",
    "zip",
    "country",
    "hs_country_region_code",
    "gender",
    "date_of_birth",
    "hubspot_owner_id",
    "salutation",
    "message",
)
_CREATED = "2024-01-15T09:30:00.000Z"


# Properties


@attrs.frozen(kw_only=True)
class Property:
    """One property of an object type.

    Attributes:
        field: HubSpot's `fieldType`, the form field.
        options: the allowed values of an enumeration; empty allows all.
        unique: whether no two records may have the same value.
        predefined: whether HubSpot defined it.
    """

    name: str
    label: str
    type: str = "string"
    field: str = "text"
    group: str
    options: tuple[str, ...] = ()
    unique: bool = False
    predefined: bool = False
    description: str = ""

    def as_json(self, *, now: str) -> dict[str, Any]:
        """Return the property as HubSpot sends it."""
        return {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field,
            "groupName": self.group,
            "description": self.description,
            "options": [
                {"label": option, "value": option, "displayOrder": order, "hidden": False}
                for order, option in enumerate(self.options)
            ],
            "displayOrder": -1,
            "hasUniqueValue": self.unique,
            "hidden": False,
            "formField": False,
            "calculated": False,
            "externalOptions": False,
            "hubspotDefined": self.predefined,
            "archived": False,
            "createdAt": now,
            "updatedAt": now,
            "modificationMetadata": {
                "archivable": not self.predefined,
                "readOnlyDefinition": self.predefined,
                "readOnlyValue": False,
            },
        }


class Schema:
    """The properties and property groups of one object type.

    Attributes:
        groups: name → label.
        properties: name → property.
    """

    def __init__(self, groups: dict[str, str], properties: list[Property]) -> None:
        self.groups = dict(groups)
        self.properties = {property_.name: property_ for property_ in properties}

    @property
    def unique(self) -> list[str]:
        """Names of the properties that identify a record."""
        return [name for name, property_ in self.properties.items() if property_.unique]

    def get(self, name: str) -> Property:
        """Return the property *name*.

        Raises:
            HubSpotError: there is none.
        """
        if name not in self.properties:
            raise self.missing(name)
        return self.properties[name]

    @staticmethod
    def missing(name: str) -> HubSpotError:
        """Return the error of a property that does not exist."""
        return not_found(f"The property named '{name}' does not exist.", propertyName=[name])

    def create(self, data: dict[str, Any]) -> Property:
        """Add the property that *data* defines.

        Raises:
            HubSpotError: the definition is incomplete, or the property exists.
        """
        new = self._parse(data)
        if new.name in self.properties:
            raise _exists("property", new.name)
        if new.unique and sum(not self.get(name).predefined for name in self.unique) >= MAX_UNIQUE:
            raise invalid(f"An object may have at most {MAX_UNIQUE} unique properties.")
        self.properties[new.name] = new
        return new

    def create_group(self, data: dict[str, Any]) -> str:
        """Add the property group that *data* defines and return its name.

        Raises:
            HubSpotError: the definition is incomplete, or the group exists.
        """
        _require(data, ("name", "label"))
        name = str(data["name"])
        if name in self.groups:
            raise _exists("property group", name)
        self.groups[name] = str(data["label"])
        return name

    def _parse(self, data: dict[str, Any]) -> Property:
        _require(data, ("name", "label", "type", "fieldType", "groupName"))
        if data["type"] not in _TYPES:
            raise invalid(f"Invalid property type: {data['type']}")
        if data["groupName"] not in self.groups:
            raise invalid(f"property group '{data['groupName']}' does not exist")
        return Property(
            name=data["name"],
            label=data["label"],
            type=data["type"],
            field=data["fieldType"],
            group=data["groupName"],
            options=tuple(str(option.get("value")) for option in objects_in(data.get("options"))),
            unique=bool(data.get("hasUniqueValue")),
            description=str(data.get("description") or ""),
        )


def group_as_json(name: str, label: str) -> dict[str, Any]:
    """Return a property group as HubSpot sends it."""
    return {"name": name, "label": label, "displayOrder": -1, "archived": False}


def _require(data: dict[str, Any], names: tuple[str, ...]) -> None:
    # Present and not empty: HubSpot treats both alike.
    missing = [name for name in names if not isinstance(data.get(name), str) or not data[name]]
    if missing:
        raise invalid(f"Some required fields were not set: [{', '.join(missing)}]")


def _exists(noun: str, name: str) -> HubSpotError:
    return HubSpotError(
        status=409,
        category="OBJECT_ALREADY_EXISTS",
        message=f"A {noun} named '{name}' already exists.",
    )


def deal_schema(portal: HubSpotPortal) -> Schema:
    """Return the properties of deals."""
    predefined = [
        *_predefined(
            DEAL_GROUP, "string", "dealname", "description", "hs_next_step", "hubspot_owner_id"
        ),
        *_predefined(DEAL_GROUP, "enumeration", "dealstage", "pipeline", "dealtype", "hs_priority"),
        *_predefined(DEAL_GROUP, "number", "amount", "hs_object_id"),
        *_predefined(DEAL_GROUP, "datetime", "closedate", "createdate", "hs_lastmodifieddate"),
        Property(
            name="deal_currency_code",
            label="Currency",
            type="enumeration",
            field="select",
            group=DEAL_GROUP,
            options=portal.currencies,
            predefined=True,
        ),
    ]
    added = _added_by_anytrack() if portal.prepared else ()
    return Schema({DEAL_GROUP: "Deal information"}, [*predefined, *added])


def contact_schema() -> Schema:
    """Return the properties of contacts."""
    predefined = [
        Property(name="email", label="Email", group=CONTACT_GROUP, unique=True, predefined=True),
        *_predefined(CONTACT_GROUP, "string", *_CONTACT_TEXTS),
        *_predefined(CONTACT_GROUP, "enumeration", "lifecyclestage", "hs_lead_status"),
        *_predefined(CONTACT_GROUP, "number", "hs_object_id"),
        *_predefined(CONTACT_GROUP, "datetime", "createdate", "lastmodifieddate"),
    ]
    return Schema({CONTACT_GROUP: "Contact information"}, predefined)


def _predefined(group: str, type_: str, *names: str) -> Iterable[Property]:
    return (
        Property(name=name, label=name.replace("_", " "), type=type_, group=group, predefined=True)
        for name in names
    )


def _added_by_anytrack() -> Iterable[Property]:
    yield Property(
        name="anytrack_event_id", label="AnyTrack event ID", group=DEAL_GROUP, unique=True
    )
    for name in ANYTRACK_PROPERTIES:
        yield Property(name=name, label=name.replace("_", " "), group=DEAL_GROUP)


# Pipelines


@attrs.frozen
class Stage:
    """One stage: its id, its label, and the probability that a deal in it is won."""

    id: str
    label: str
    probability: str


@attrs.frozen
class Pipeline:
    """One pipeline."""

    id: str
    label: str
    stages: tuple[Stage, ...]

    def as_json(self, order: int) -> dict[str, Any]:
        """Return the pipeline as HubSpot sends it."""
        return {
            "id": self.id,
            "label": self.label,
            "displayOrder": order,
            "stages": self.stages_as_json(),
            "createdAt": _CREATED,
            "updatedAt": _CREATED,
            "archived": False,
        }

    def stages_as_json(self) -> list[dict[str, Any]]:
        """Return the stages as HubSpot sends them."""
        return [
            {
                "id": stage.id,
                "label": stage.label,
                "displayOrder": order,
                "metadata": {
                    "isClosed": str(stage.probability in ("0.0", "1.0")).lower(),
                    "probability": stage.probability,
                },
                "createdAt": _CREATED,
                "updatedAt": _CREATED,
                "archived": False,
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            }
            for order, stage in enumerate(self.stages)
        ]


DEAL_PIPELINES = (
    Pipeline(
        "default",
        "Sales Pipeline",
        (
            Stage("appointmentscheduled", "Appointment Scheduled", "0.2"),
            Stage("qualifiedtobuy", "Qualified To Buy", "0.4"),
            Stage("presentationscheduled", "Presentation Scheduled", "0.6"),
            Stage("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
            Stage("contractsent", "Contract Sent", "0.9"),
            Stage("closedwon", "Closed Won", "1.0"),
            Stage("closedlost", "Closed Lost", "0.0"),
        ),
    ),
    Pipeline(
        "1016571",
        "Affiliate sales",
        (
            Stage("2031245", "New", "0.3"),
            Stage("2031246", "Won", "1.0"),
            Stage("2031247", "Lost", "0.0"),
        ),
    ),
)


def stages_of(pipeline: str) -> tuple[str, ...]:
    """Return the stage ids of *pipeline*; empty if there is no such pipeline."""
    for candidate in DEAL_PIPELINES:
        if candidate.id == pipeline:
            return tuple(stage.id for stage in candidate.stages)
    return ()
