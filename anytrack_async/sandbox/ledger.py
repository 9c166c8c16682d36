"""What each service was sent, what it took and what it refused.

`accepted` counts conversions, events or deals, repeats included: it equals `unique` +
`duplicates`. `rejected` counts, by the vendor's own code, items where the answer names them
(HubSpot's 207) and requests where it does not (everything else). A request that met an injected
fault is counted under `faults` by its kind. Not every such fault loses work: see `Faults`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

_MOST = 2**32 - 1


class Ids:
    """How often each service took each event id; one table, so that an id is stored once."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._slots: dict[str, int] = {}
        self._times = {service: array("I") for service in services}

    def add(self, service: str, event_id: str) -> None:
        """Count one more acceptance of *event_id*."""
        slot = self._slots.setdefault(event_id, len(self._slots))
        times = self._times[service]
        if slot >= len(times):
            times.extend([0] * (slot + 1 - len(times)))
        times[slot] = min(times[slot] + 1, _MOST)

    def of(self, service: str) -> dict[str, int]:
        """Return the ids *service* took, with the number of times."""
        # A slot beyond the column belongs to an id this service never saw.
        return {
            event_id: times
            for event_id, times in zip(self._slots, self._times[service], strict=False)
            if times
        }


class Account:
    """One service's page of the ledger."""

    def __init__(self, service: str, ids: Ids) -> None:
        self.service = service
        self.requests = 0
        self.unique = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.extra: dict[str, Any] = {}
        self._ids = ids

    def accept(self, event_id: str | None, *, new: bool) -> None:
        """Count one accepted conversion, event or deal; *new* if it was not there before."""
        if new:
            self.unique += 1
        else:
            self.duplicates += 1
        if event_id is not None:
            self._ids.add(self.service, event_id)

    def reject(self, reason: str, times: int = 1) -> None:
        """Count *times* rejections for *reason*."""
        self.rejected[reason] += times

    def page(self, *, ids: bool) -> dict[str, Any]:
        """Return the page as plain data."""
        page: dict[str, Any] = {
            "requests": self.requests,
            "accepted": self.unique + self.duplicates,
            "unique": self.unique,
            "duplicates": self.duplicates,
            "rejected": dict(self.rejected),
            "faults": dict(self.faults),
            **self.extra,
        }
        return {**page, "ids": self._ids.of(self.service)} if ids else page


class Ledger:
    """All services' pages."""

    def __init__(self, services: tuple[str, ...]) -> None:
        ids = Ids(services)
        self.accounts = {service: Account(service, ids) for service in services}

    def report(self, *, ids: bool = False) -> dict[str, Any]:
        """Return every page; with *ids*, also each event id and how often it was accepted."""
        return {name: account.page(ids=ids) for name, account in self.accounts.items()}
