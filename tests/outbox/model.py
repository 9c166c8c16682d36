"""The simplest possible model of an outbox."""

from typing import Any

import attrs


@attrs.define
class Place:
    """The state of one conversion at one destination: free, leased, dead or done."""

    state: str = "free"
    attempts: int = 0
    due: float = 0.0
    lease: int = 0


@attrs.define
class Model:
    """All accepted conversions by order number, and their state at each destination."""

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

    def claimable(self, name: str, now: float) -> set[int]:
        expired = self.expired(name, now)
        return {
            number
            for number, place in self.places[name].items()
            if (place.state == "free" and place.due <= now)
            or (place.state == "leased" and place.lease in expired)
        }

    def release(self, name: str, lease: int, due: float, counts_as_attempt: bool) -> None:
        del self.leases[name, lease]
        for place in self.places[name].values():
            if place.state == "leased" and place.lease == lease:
                place.state, place.due = "free", due
                place.attempts += counts_as_attempt

    def next_due(self, name: str) -> float | None:
        moments = [place.due for place in self.places[name].values() if place.state == "free"]
        moments += [until for (owner, _), until in self.leases.items() if owner == name]
        return min(moments, default=None)
