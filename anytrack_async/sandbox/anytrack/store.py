"""The conversions AnyTrack has taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import orjson

from anytrack_async.sandbox.anytrack.intake import parse_time
from anytrack_async.sandbox.anytrack.journey import Journey


@attrs.frozen(kw_only=True)
class Stored:
    """One conversion read back.

    Attributes:
        id: AnyTrack's own.
        at: when it happened.
        revenue: in major units.
        data: what was sent.
        journey: the click's touchpoints.
    """

    id: str
    at: datetime
    revenue: Decimal
    data: dict[str, Any]
    journey: Journey

    @property
    def source(self) -> str:
        """What was sent, else where the last touchpoint came from."""
        return self.data.get("source") or self.journey.source

    @property
    def campaign_id(self) -> str:
        """What was sent, else the campaign of the last touchpoint that has one."""
        return str(self.data.get("campaign_id") or self.journey.campaign_id)

    @property
    def affiliate_id(self) -> str:
        """Whom the conversion is credited to: a sub id if one says so, else its source."""
        subs = self.data.get("sub_ids") or {}
        named = subs.get("affiliate_id") or subs.get("aff_id") or subs.get("sub1")
        return str(named or f"aff_{self.source}")

    def wire(self) -> dict[str, Any]:
        """Return it as AnyTrack sends it: money as text, times in UTC without saying so."""
        record = {
            "id": self.id,
            "click_id": self.data.get("click_id"),
            "conversion_type": self.data["conversion_type"],
            "revenue": money(self.revenue),
            "currency": (self.data.get("currency") or "USD").upper(),
            "source": self.source,
            "campaign_id": self.campaign_id,
            "timestamp": naive(self.at),
            # Undocumented, as answers of live services are: a client must not mind.
            "status": "approved",
        }
        optional = ("ad_id", "sub_ids", "ip_address", "user_agent")
        return record | {name: self.data[name] for name in optional if self.data.get(name)}


def money(amount: Decimal) -> str:
    """Return *amount* as text, with two decimals or as many as it has."""
    exponent = amount.as_tuple().exponent
    short = isinstance(exponent, int) and exponent > -2
    return str(amount.quantize(Decimal("0.01")) if short else amount)


def naive(at: datetime) -> str:
    """Return *at* in UTC, without an offset."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat()


class Store:
    """Conversions in order of arrival: as sent, the newest *keep* of them."""

    def __init__(self, *, seed: int, keep: int) -> None:
        self._seed = seed
        self._keep = keep
        self._bodies: dict[int, bytes] = {}
        self._next = 1

    def add(self, body: bytes) -> int:
        """Keep *body* and return the conversion's number."""
        number = self._next
        self._next += 1
        self._bodies[number] = body
        self._bodies.pop(number - self._keep, None)
        return number

    def get(self, id_: str) -> Stored | None:
        """Return the conversion *id_*, if there is one."""
        number = _number(id_)
        body = self._bodies.get(number)
        return None if body is None else self._read(number, body)

    def __iter__(self) -> Iterator[Stored]:
        """Iterate over the conversions, newest first."""
        return (self._read(number, body) for number, body in reversed(self._bodies.items()))

    def _read(self, number: int, body: bytes) -> Stored:
        data = orjson.loads(body)
        at = parse_time(data["timestamp"])
        return Stored(
            id=conversion_id(number),
            at=at,
            revenue=Decimal(str(data.get("revenue") or 0)),
            data=data,
            journey=Journey.of(data.get("click_id") or "", before=at, seed=self._seed),
        )


def conversion_id(number: int) -> str:
    """Return the id of the *number*-th conversion."""
    return f"cv_{number:08x}"


def _number(id_: str) -> int:
    try:
        return int(id_.removeprefix("cv_"), 16) if id_.startswith("cv_") else 0
    except ValueError:
        return 0
