"""Everything a portal holds."""

from __future__ import annotations

import itertools
import random
from typing import Any

from anytrack_async.sandbox.hubspot.defaults import contact_schema, deal_schema
from anytrack_async.sandbox.hubspot.errors import HubSpotError, invalid
from anytrack_async.sandbox.hubspot.links import Links
from anytrack_async.sandbox.hubspot.records import Table, iso
from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.request import Clock
from anytrack_async.sandbox.settings import SandboxSettings

_KINDS = {
    "deals": "deals",
    "deal": "deals",
    "0-3": "deals",
    "contacts": "contacts",
    "contact": "contacts",
    "0-1": "contacts",
}


class Portal:
    """One portal.

    Attributes:
        ledger: its page of the ledger.
        tables: deals and contacts.
        links: which deal belongs to which contact.
        chance: for the order of results.
        events: uuids of the custom events it took.
    """

    def __init__(self, settings: SandboxSettings, ledger: LedgerPage, clock: Clock) -> None:
        self.settings = settings.hubspot
        self.ledger = ledger
        self.clock = clock
        self.chance = random.Random(settings.seed)
        self.links = Links()
        self.events: set[str] = set()
        self.tables = {
            "deals": Table(
                "deals", deal_schema(self.settings), keep=settings.keep, first=40_001, clock=clock
            ),
            "contacts": Table(
                "contacts", contact_schema(), keep=settings.keep, first=101, clock=clock
            ),
        }
        self._answers = itertools.count(1)
        ledger.extra.update(contacts=0, associations=0, events=0)

    def table(self, name: str) -> Table:
        """Return the table of the object type called *name*.

        Raises:
            HubSpotError: there is no such type.
        """
        if name not in _KINDS:
            raise invalid(f"Unable to infer object type from: {name}", reason="OBJECT_TYPE")
        return self.tables[_KINDS[name]]

    def now(self) -> str:
        """Return the time, as HubSpot writes it."""
        return iso(self.clock())

    def correlation_id(self) -> str:
        """Return a new correlation id."""
        return f"0190d5b2-7c1f-7000-8000-{next(self._answers):012x}"

    def shuffled(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return *results* in the order HubSpot sends them: none in particular."""
        return self.chance.sample(results, len(results))

    def echoes(self) -> bool:
        """Return whether this answer repeats the trace ids; HubSpot promises neither."""
        return self.chance.random() < 0.5

    def refuse(self, error: HubSpotError) -> None:
        """Count a refused request or input."""
        self.ledger.reject(error.reason or error.category)
