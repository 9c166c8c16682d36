"""The stored conversions, with the journey of touchpoints that led to each.

A journey is made up, but always the same for one click id and seed, so that reads agree.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import attrs
import orjson

from anytrack_async.sandbox.anytrack.validation import parse_time

AttributionModel = Literal["last_click", "first_click", "linear", "time_decay"]
MODELS: tuple[AttributionModel, ...] = ("last_click", "first_click", "linear", "time_decay")

_SOURCES = ("google", "facebook", "tiktok", "newsletter", "bing", "partner")
_HALF_LIFE = timedelta(days=7)  # of a touchpoint's weight, by time decay


@attrs.frozen(kw_only=True)
class Touchpoint:
    """One contact before the conversion."""

    type: Literal["click", "view"]
    source: str
    time: datetime
    campaign_id: str | None

    @classmethod
    def make(cls, chance: random.Random, time: datetime) -> Touchpoint:
        """Return a made-up touchpoint at *time*."""
        source = chance.choice(_SOURCES)
        return cls(
            type="click" if chance.random() < 0.7 else "view",
            source=source,
            time=time.replace(microsecond=0),
            campaign_id=f"{source}-{chance.randint(1, 9)}" if chance.random() < 0.8 else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the touchpoint as AnyTrack sends it."""
        record = {"type": self.type, "source": self.source, "timestamp": without_offset(self.time)}
        return record | ({"campaign_id": self.campaign_id} if self.campaign_id else {})


@attrs.frozen
class Journey:
    """The touchpoints of one click id, oldest first; none for a conversion without a click.

    Attributes:
        touchpoints: oldest first.
        end: the time of the conversion.
    """

    touchpoints: tuple[Touchpoint, ...]
    end: datetime

    @classmethod
    def make(cls, click_id: str, *, end: datetime, seed: int) -> Journey:
        """Return the journey of *click_id* to the conversion at *end*."""
        if not click_id:
            return cls((), end)
        chance = random.Random(f"{seed}:{click_id}")
        ages = [timedelta(hours=chance.uniform(0.1, 480)) for _ in range(chance.randint(1, 5))]
        ages.sort(reverse=True)  # oldest first
        return cls(tuple(Touchpoint.make(chance, end - age) for age in ages), end)

    @property
    def source(self) -> str:
        """Source of the last touchpoint."""
        return self.touchpoints[-1].source if self.touchpoints else "direct"

    @property
    def campaign_id(self) -> str:
        """The last campaign of the journey."""
        campaigns = [touch.campaign_id for touch in self.touchpoints if touch.campaign_id]
        return campaigns[-1] if campaigns else "none"

    def weights(self, model: AttributionModel) -> dict[str, float]:
        """Return each touchpoint's share by *model*; except for rounding they add up to 1.

        Example: two touchpoints, 14 and 7 days before the conversion, have by `time_decay` the
        raw weights 0.25 and 0.5, and so the shares 0.333333 and 0.666667.
        """
        raw = self._raw_weights(model)
        total = sum(raw)
        return {
            f"touchpoint_{number}": round(weight / total, 6)
            for number, weight in enumerate(raw, start=1)
        }

    def _raw_weights(self, model: AttributionModel) -> list[float]:
        count = len(self.touchpoints)
        clicks = [index for index, t in enumerate(self.touchpoints) if t.type == "click"]
        if model == "linear":
            return [1.0] * count
        if model == "time_decay":
            return [0.5 ** ((self.end - touch.time) / _HALF_LIFE) for touch in self.touchpoints]
        # A journey of views alone credits its last view.
        winner = clicks[0 if model == "first_click" else -1] if clicks else count - 1
        return [float(index == winner) for index in range(count)]


@attrs.frozen(kw_only=True)
class Stored:
    """One stored conversion.

    Attributes:
        id: AnyTrack's id.
        time: the time of the conversion.
        revenue: in major units.
        data: the fields the client sent.
        journey: the click's touchpoints.
    """

    id: str
    time: datetime
    revenue: Decimal
    data: dict[str, Any]
    journey: Journey

    @property
    def source(self) -> str:
        """The source the client sent, else the journey's."""
        return self.data.get("source") or self.journey.source

    @property
    def campaign_id(self) -> str:
        """The campaign the client sent, else the journey's."""
        return str(self.data.get("campaign_id") or self.journey.campaign_id)

    @property
    def affiliate_id(self) -> str:
        """The affiliate credited: a sub id that names one, else made from the source."""
        sub_ids = self.data.get("sub_ids") or {}
        name = sub_ids.get("affiliate_id") or sub_ids.get("aff_id") or sub_ids.get("sub1")
        return str(name or f"aff_{self.source}")

    def as_json(self) -> dict[str, Any]:
        """Return the conversion as AnyTrack sends it: money as text, UTC without an offset."""
        record = {
            "id": self.id,
            "click_id": self.data.get("click_id"),
            "conversion_type": self.data["conversion_type"],
            "revenue": money(self.revenue),
            "currency": (self.data.get("currency") or "USD").upper(),
            "source": self.source,
            "campaign_id": self.campaign_id,
            "timestamp": without_offset(self.time),
            # Undocumented on purpose: a client must ignore fields that it does not know.
            "status": "approved",
        }
        optional = ("ad_id", "sub_ids", "ip_address", "user_agent")
        return record | {name: self.data[name] for name in optional if self.data.get(name)}


def money(amount: Decimal) -> str:
    """Return *amount* as text, with two decimals or as many as it has."""
    exponent = amount.as_tuple().exponent
    # 9.9 → "9.90", 9.905 → "9.905", 1E+2 → "100.00".
    pad = isinstance(exponent, int) and exponent > -2
    return str(amount.quantize(Decimal("0.01")) if pad else amount)


def without_offset(moment: datetime) -> str:
    """Return *moment* in UTC as ISO 8601, without an offset."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


class Store:
    """Conversions in order of arrival: the bodies of the newest *keep* of them.

    Args:
        seed: decides the journeys.
        keep: how many bodies are kept.
    """

    def __init__(self, *, seed: int, keep: int) -> None:
        self._seed = seed
        self._keep = keep
        self._bodies: dict[int, bytes] = {}
        self._next = 1

    def add(self, body: bytes) -> int:
        """Store *body* and return the conversion's number."""
        number = self._next
        self._next += 1
        self._bodies[number] = body
        # With keep=100, storing number 101 drops number 1: there is never more than one to drop.
        self._bodies.pop(number - self._keep, None)
        return number

    def get(self, conversion_id: str) -> Stored | None:
        """Return the conversion with this id, if it is stored."""
        number = _to_number(conversion_id)
        body = self._bodies.get(number)
        return None if body is None else self._read(number, body)

    def __iter__(self) -> Iterator[Stored]:
        """Iterate over the conversions, newest first."""
        return (self._read(number, body) for number, body in reversed(self._bodies.items()))

    def _read(self, number: int, body: bytes) -> Stored:
        # Parsed when read: most conversions of a demo never are.
        data = orjson.loads(body)
        time = parse_time(data["timestamp"])
        return Stored(
            id=to_conversion_id(number),
            time=time,
            revenue=Decimal(str(data.get("revenue") or 0)),
            data=data,
            journey=Journey.make(data.get("click_id") or "", end=time, seed=self._seed),
        )


def to_conversion_id(number: int) -> str:
    """Return the id of the *number*-th conversion."""
    return f"cv_{number:08x}"


def _to_number(conversion_id: str) -> int:
    if not conversion_id.startswith("cv_"):
        return 0
    try:
        return int(conversion_id.removeprefix("cv_"), 16)
    except ValueError:
        return 0
