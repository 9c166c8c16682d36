"""One call of the HubSpot API, its query and body parsed."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from anytrack_async.sandbox.hubspot.errors import HubSpotError, invalid
from anytrack_async.sandbox.request import Request


class Call:
    """One call.

    Attributes:
        request: as it arrived.
        method: upper case.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.method = request.method

    @cached_property
    def data(self) -> dict[str, Any]:
        """The JSON body.

        Raises:
            HubSpotError: it is none, or not an object.
        """
        try:
            data = self.request.json() if self.request.body else {}
        except ValueError:
            raise _unreadable() from None
        if not isinstance(data, dict):
            raise _unreadable()
        return data

    @cached_property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(self.request.query.decode("latin-1"), keep_blank_values=True)

    def param(self, name: str) -> str | None:
        """Return the query parameter *name*."""
        return self._query.get(name, [None])[-1]

    def params(self, name: str) -> list[str]:
        """Return the values of *name*, given several times or with commas."""
        return [value for given in self._query.get(name, []) for value in given.split(",") if value]


def objects(given: object) -> list[dict[str, Any]]:
    """Return the objects in the list *given*; whatever else JSON may hold is passed over."""
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def texts(given: object) -> list[str]:
    """Return the texts in the list *given*."""
    return [item for item in given if isinstance(item, str)] if isinstance(given, list) else []


def _unreadable() -> HubSpotError:
    return invalid("Invalid input JSON: the body must be a JSON object", reason="INVALID_JSON")
