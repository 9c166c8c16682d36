"""The simplest possible model of an outbox."""

from typing import Any

import attrs


@attrs.define
class Place:
    """The state of one conversion at one destination: free, leased, dead, done or discarded."""

    state: str = "free"
    attempts: int = 0
    due: float = 0.0
    lease: int = 0
    lost: int = 0
    is_behind_cursor: bool = False
    settled_at: float = 0.0


@attrs.define
class Model:
    """All accepted conversions by order number, and their state at each destination.

    *isolates*: whether conversions that lost two leases are leased alone.
    """

    isolates: bool = False
    order: list[int] = attrs.field(factory=list)
    revenue: dict[int, int] = attrs.field(factory=dict)
    places: dict[str, dict[int, Place]] = attrs.field(factory=dict)
    leases: dict[tuple[str, int], float] = attrs.field(factory=dict)
    forgotten: set[int] = attrs.field(factory=set)

    def accept(self, number: int, revenue: int, recipients: Any) -> None:
        if number in self.revenue:
            self.order.remove(number)
        self.forgotten.discard(number)
        self.order.append(number)
        self.revenue[number] = revenue
        for name, places in self.places.items():
            places.pop(number, None)
            if recipients is None or name in recipients:
                places[number] = Place()

    def expired(self, name: str, now: float) -> set[int]:
        return {
            lease for (owner, lease), until in self.leases.items() if owner == name and until <= now
        }

    def waiting(self, name: str) -> int:
        places = self.places[name].values()
        return sum(place.state in ("free", "leased") for place in places)

    def due(self, name: str, now: float, *, isolated: bool) -> set[int]:
        """The numbers that are free and due: isolated conversions, or all others."""
        return {
            number
            for number, place in self.places[name].items()
            if place.state == "free" and place.due <= now and self.is_isolated(place) is isolated
        }

    def is_isolated(self, place: Place) -> bool:
        return self.isolates and place.lost >= 2

    def expire(self, name: str, limit: int, now: float) -> None:
        """Expire leases, the first first, while fewer than *limit* behind the cursor are due."""
        for until, lease in sorted(
            (self.leases[name, id_], id_) for id_ in self.expired(name, now)
        ):
            due = self.due(name, now, isolated=False)
            if sum(self.places[name][number].is_behind_cursor for number in due) >= limit:
                return
            self.release(name, lease, until, counts_as_attempt=True, is_lost=True)

    def isolated_in_flight(self, now: float) -> bool:
        return any(
            place.state == "leased"
            and self.is_isolated(place)
            and self.leases[name, place.lease] > now
            for name, places in self.places.items()
            for place in places.values()
        )

    def claimable(self, name: str, limit: int, now: float) -> tuple[set[int], int]:
        """The numbers that a claim may contain, and how many it contains; expires leases."""
        for _ in range(2):
            isolated = self.due(name, now, isolated=True)
            if isolated and not self.isolated_in_flight(now):
                return isolated, 1
            self.expire(name, limit, now)
            due = self.due(name, now, isolated=False)
            if due:
                return due, min(limit, len(due))
        return set(), 0

    def release(
        self, name: str, lease: int, due: float, *, counts_as_attempt: bool, is_lost: bool = False
    ) -> None:
        del self.leases[name, lease]
        for place in self.places[name].values():
            if place.state == "leased" and place.lease == lease:
                place.state, place.due = "free", due
                place.attempts += counts_as_attempt
                place.lost += is_lost

    def next_due(self, name: str) -> float | None:
        moments = [place.due for place in self.places[name].values() if place.state == "free"]
        moments += [until for (owner, _), until in self.leases.items() if owner == name]
        return min(moments, default=None)
