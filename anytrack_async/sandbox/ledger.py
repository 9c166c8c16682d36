"""The ledger: requests, accepted and rejected conversions of each service.

`accepted` counts conversions, events or deals, repeats included: `unique` + `duplicates`.
`rejected` counts by the vendor's own code: items where the reply names them (HubSpot's 207), and
requests everywhere else. A request that met an injected fault is counted under `faults` by its
kind. Not every fault loses work: see `Faults`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

_MAX_COUNT = 2**32 - 1


class EventIds:
    """How often each service accepted each event id; one table stores an id once for all."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._rows: dict[str, int] = {}
        self._columns = {service: array("I") for service in services}

    def add(self, service: str, event_id: str) -> None:
        """Count one more acceptance of *event_id*."""
        # One dict of ids and a counter of 4 bytes for each service: three dicts would need about
        # three times the memory for a million ids.
        row = self._rows.setdefault(event_id, len(self._rows))
        counts = self._columns[service]
        if row >= len(counts):
            counts.extend([0] * (row + 1 - len(counts)))
        counts[row] = min(counts[row] + 1, _MAX_COUNT)

    def counts(self, service: str) -> dict[str, int]:
        """Return event id → the number of times that *service* accepted it."""
        # A row beyond the end of the column is an id that only other services have seen.
        return {
            event_id: count
            for event_id, count in zip(self._rows, self._columns[service], strict=False)
            if count
        }


class LedgerPage:
    """One service's page of the ledger.

    Attributes:
        service: its name.
        requests: requests that arrived.
        unique: conversions accepted for the first time.
        duplicates: conversions that the service had accepted before.
        rejected: vendor's code → rejections.
        faults: kind → injected faults.
        extra: further figures of the service.
    """

    def __init__(self, service: str, event_ids: EventIds) -> None:
        self.service = service
        self.requests = 0
        self.unique = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.extra: dict[str, Any] = {}
        self._event_ids = event_ids

    def accept(self, event_id: str | None, *, new: bool) -> None:
        """Count one accepted conversion, event or deal; a duplicate unless *new*."""
        if new:
            self.unique += 1
        else:
            self.duplicates += 1
        if event_id is not None:
            self._event_ids.add(self.service, event_id)

    def reject(self, reason: str, times: int = 1) -> None:
        """Count *times* rejections for *reason*."""
        self.rejected[reason] += times

    def as_dict(self, *, ids: bool) -> dict[str, Any]:
        """Return the page as plain data; with *ids*, including `EventIds.counts`."""
        page: dict[str, Any] = {
            "requests": self.requests,
            "accepted": self.unique + self.duplicates,
            "unique": self.unique,
            "duplicates": self.duplicates,
            "rejected": dict(self.rejected),
            "faults": dict(self.faults),
            **self.extra,
        }
        return {**page, "ids": self._event_ids.counts(self.service)} if ids else page


class Ledger:
    """The pages of all services.

    Attributes:
        pages: service → its page.
    """

    def __init__(self, services: tuple[str, ...]) -> None:
        event_ids = EventIds(services)
        self.pages = {service: LedgerPage(service, event_ids) for service in services}

    def as_dict(self, *, ids: bool = False) -> dict[str, Any]:
        """Return every page; with *ids*, also each event id and how often it was accepted."""
        return {service: page.as_dict(ids=ids) for service, page in self.pages.items()}
