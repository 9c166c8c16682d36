"""The properties an object type has.

Source: HubSpot: properties API; default deal and contact properties.
"""

from __future__ import annotations

from typing import Any

import attrs

from anytrack_async.sandbox.hubspot.call import objects
from anytrack_async.sandbox.hubspot.errors import HubSpotError, invalid, not_found

MAX_UNIQUE = 10
_TYPES = ("string", "number", "date", "datetime", "enumeration", "bool", "phone_number")


@attrs.frozen(kw_only=True)
class Property:
    """One property of an object type.

    Attributes:
        options: the values it takes, for an enumeration with fixed ones.
        unique: whether no two records may have the same value.
        own: whether HubSpot defined it.
    """

    name: str
    label: str
    type: str = "string"
    field: str = "text"
    group: str
    options: tuple[str, ...] = ()
    unique: bool = False
    own: bool = False
    description: str = ""

    def wire(self, *, now: str) -> dict[str, Any]:
        """Return the property as HubSpot sends it."""
        return {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field,
            "groupName": self.group,
            "description": self.description,
            "options": [
                {"label": o, "value": o, "displayOrder": n, "hidden": False}
                for n, o in enumerate(self.options)
            ],
            "displayOrder": -1,
            "hasUniqueValue": self.unique,
            "hidden": False,
            "formField": False,
            "calculated": False,
            "externalOptions": False,
            "hubspotDefined": self.own,
            "archived": False,
            "createdAt": now,
            "updatedAt": now,
            "modificationMetadata": {
                "archivable": not self.own,
                "readOnlyDefinition": self.own,
                "readOnlyValue": False,
            },
        }


class Schema:
    """The properties and property groups of one object type."""

    def __init__(self, groups: dict[str, str], properties: list[Property]) -> None:
        self.groups = dict(groups)
        self.properties = {p.name: p for p in properties}

    @property
    def unique(self) -> list[str]:
        """Names of the properties that identify a record."""
        return [p.name for p in self.properties.values() if p.unique]

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
        """Return the error of a property that is not there."""
        return not_found(f"The property named '{name}' does not exist.", propertyName=[name])

    def create(self, data: dict[str, Any]) -> Property:
        """Add the property *data* defines.

        Raises:
            HubSpotError: the definition is not complete, or the property exists.
        """
        new = self._parse(data)
        if new.name in self.properties:
            raise _exists("property", new.name)
        if new.unique and sum(not p.own for p in map(self.get, self.unique)) >= MAX_UNIQUE:
            raise invalid(f"An object may have at most {MAX_UNIQUE} unique properties.")
        self.properties[new.name] = new
        return new

    def create_group(self, data: dict[str, Any]) -> str:
        """Add the property group *data* defines and return its name.

        Raises:
            HubSpotError: the definition is not complete, or the group exists.
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
            options=tuple(str(option.get("value")) for option in objects(data.get("options"))),
            unique=bool(data.get("hasUniqueValue")),
            description=str(data.get("description") or ""),
        )


def group_wire(name: str, label: str) -> dict[str, Any]:
    """Return a property group as HubSpot sends it."""
    return {"name": name, "label": label, "displayOrder": -1, "archived": False}


def _require(data: dict[str, Any], names: tuple[str, ...]) -> None:
    missing = [name for name in names if not isinstance(data.get(name), str) or not data[name]]
    if missing:
        raise invalid(f"Some required fields were not set: [{', '.join(missing)}]")


def _exists(what: str, name: str) -> HubSpotError:
    return HubSpotError(
        status=409,
        category="OBJECT_ALREADY_EXISTS",
        message=f"A {what} named '{name}' already exists.",
    )
