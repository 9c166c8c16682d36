"""How a visitor came to convert: made up, but always the same for one click id."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs

AttributionModel = Literal["last_click", "first_click", "linear", "time_decay"]
MODELS: tuple[AttributionModel, ...] = ("last_click", "first_click", "linear", "time_decay")

_SOURCES = ("google", "facebook", "tiktok", "newsletter", "bing", "partner")
_HALF_LIFE = timedelta(days=7)


@attrs.frozen(kw_only=True)
class Touchpoint:
    """One contact before the conversion."""

    type: Literal["click", "view"]
    source: str
    at: datetime
    campaign_id: str | None


@attrs.frozen
class Journey:
    """The touchpoints of one click id, oldest first; none for a conversion without a click."""

    touchpoints: tuple[Touchpoint, ...]
    before: datetime

    @classmethod
    def of(cls, click_id: str, *, before: datetime, seed: int) -> Journey:
        """Return the journey that led to the conversion at *before*."""
        if not click_id:
            return cls((), before)
        chance = random.Random(f"{seed}:{click_id}")
        ages = [timedelta(hours=chance.uniform(0.1, 480)) for _ in range(chance.randint(1, 5))]
        ages.sort(reverse=True)
        return cls(tuple(_touch(chance, before - age) for age in ages), before)

    @property
    def source(self) -> str:
        """Where the last touchpoint came from."""
        return self.touchpoints[-1].source if self.touchpoints else "direct"

    @property
    def campaign_id(self) -> str:
        """The last campaign on the way."""
        campaigns = [touch.campaign_id for touch in self.touchpoints if touch.campaign_id]
        return campaigns[-1] if campaigns else "none"

    def weights(self, model: AttributionModel) -> dict[str, float]:
        """Return each touchpoint's share by *model*; but for rounding they add up to 1."""
        raw = self._raw(model)
        total = sum(raw)
        return {f"touchpoint_{n}": round(w / total, 6) for n, w in enumerate(raw, start=1)}

    def _raw(self, model: AttributionModel) -> list[float]:
        count = len(self.touchpoints)
        clicks = [n for n, t in enumerate(self.touchpoints) if t.type == "click"]
        if model == "linear":
            return [1.0] * count
        if model == "time_decay":
            return [0.5 ** ((self.before - t.at) / _HALF_LIFE) for t in self.touchpoints]
        winner = clicks[0 if model == "first_click" else -1] if clicks else count - 1
        return [float(n == winner) for n in range(count)]


def _touch(chance: random.Random, at: datetime) -> Touchpoint:
    source = chance.choice(_SOURCES)
    return Touchpoint(
        type="click" if chance.random() < 0.7 else "view",
        source=source,
        at=at.replace(microsecond=0),
        campaign_id=f"{source}-{chance.randint(1, 9)}" if chance.random() < 0.8 else None,
    )


def wire(touch: Touchpoint) -> dict[str, Any]:
    """Return *touch* as AnyTrack sends it."""
    record = {
        "type": touch.type,
        "source": touch.source,
        "timestamp": touch.at.replace(tzinfo=None).isoformat(),
    }
    return record | ({"campaign_id": touch.campaign_id} if touch.campaign_id else {})
