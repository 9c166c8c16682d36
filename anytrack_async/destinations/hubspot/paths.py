"""Where each operation lives, by API version: pure, as path segments."""

from __future__ import annotations

from typing import TypeAlias

import attrs

Path: TypeAlias = tuple[str, ...]

LEGACY = "v3"


@attrs.frozen
class Paths:
    """The paths of one API version.

    Date-based versions put the date behind the API's name; before them each API had a number of
    its own.

    Attributes:
        version: ``"2026-09"`` or ``"v3"``.

    Source: HubSpot, "API versioning" and the reference page of each operation.
    """

    version: str

    @property
    def _legacy(self) -> bool:
        return self.version == LEGACY

    def upsert(self, kind: str) -> Path:
        """Return the path that creates or updates up to 100 records of *kind*."""
        return (*self._crm("objects"), kind, "batch", "upsert")

    @property
    def associate(self) -> Path:
        """The path that links up to 100 deals with contacts."""
        crm = ("crm", "v4", "associations") if self._legacy else self._crm("associations")
        return (*crm, "deals", "contacts", "batch", "associate", "default")

    @property
    def pipelines(self) -> Path:
        """The path of all deal pipelines."""
        return (*self._crm("pipelines"), "deals")

    @property
    def properties(self) -> Path:
        """The path of all deal properties."""
        return (*self._crm("properties"), "deals")

    @property
    def account(self) -> Path:
        """The path of the portal's time zone and currencies."""
        return ("account-info", self.version, "details")

    @property
    def token(self) -> Path:
        """The path that turns a refresh token into an access token."""
        return ("oauth", "v1" if self._legacy else self.version, "token")

    @property
    def events(self) -> Path:
        """The path that takes up to 500 custom events."""
        if self._legacy or self.version < "2026-09":
            return ("events", self.version, "send", "batch")
        return ("events", "custom", self.version, "send", "batch")

    def _crm(self, api: str) -> Path:
        return ("crm", "v3", api) if self._legacy else ("crm", api, self.version)
