"""What goes wrong on purpose, how often, and when: decided by a seed, so a run can be repeated."""

from __future__ import annotations

import random
from typing import Literal, get_args

import attrs
from attrs.validators import and_, deep_iterable, ge, in_, le

FaultKind = Literal["error", "throttle", "reset", "cut", "lost", "latency"]
"""`error`: a 5xx of the vendor's kind · `throttle`: the vendor's way to say "slower" ·
`reset`: the connection is reset before any work · `cut`: the work is done, half the answer
arrives · `lost`: the work is done, no answer arrives · `latency`: a late but good answer."""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
SERVICES = ("anytrack", "meta", "hubspot")


@attrs.frozen(kw_only=True)
class Faults:
    """Faults to inject.

    Attributes:
        rate: share of the requests that meet a fault, 0 to 1.
        seed: the same seed gives the n-th request of a service the same fate.
        kinds: which faults, drawn with equal chance.
        services: which services have them.
        latency: how late the late answers are, in seconds.
    """

    rate: float = attrs.field(default=0.0, converter=float, validator=and_(ge(0.0), le(1.0)))
    seed: int = 0
    kinds: tuple[FaultKind, ...] = attrs.field(
        default=FAULT_KINDS,
        converter=tuple[FaultKind, ...],
        validator=deep_iterable(in_(FAULT_KINDS)),
    )
    services: tuple[str, ...] = attrs.field(
        default=SERVICES, converter=tuple[str, ...], validator=deep_iterable(in_(SERVICES))
    )
    latency: float = attrs.field(default=0.25, converter=float, validator=ge(0.0))


class Injector:
    """Draws the fate of one service's requests, in their order of arrival."""

    def __init__(self, faults: Faults, service: str) -> None:
        self.latency = faults.latency
        self.kinds = faults.kinds
        self.rate = faults.rate if service in faults.services and faults.kinds else 0.0
        # Seeded by text: `Random` takes its bytes, not the process's salted hash of them.
        self._random = random.Random(f"{faults.seed}:{service}")

    def draw(self) -> FaultKind | None:
        """Return the fault the next request meets, if any."""
        if not self.rate or self._random.random() >= self.rate:
            return None
        return self._random.choice(self.kinds)
