"""Faults and outages on purpose: which requests fail, and how.

A seed decides, so that a run can be repeated: the n-th request of a service always meets the same
fault.
"""

from __future__ import annotations

import random
from typing import Literal, get_args

import attrs
from attrs.validators import and_, deep_iterable, ge, in_, le

from anytrack_async.sandbox.ledger import LedgerPage
from anytrack_async.sandbox.request import Reply, Request, Service, json_reply

FaultKind = Literal["error", "throttle", "reset", "cut", "lost", "latency"]
"""`error`: a 5xx in the vendor's format · `throttle`: the vendor's "too many requests" ·
`reset`: the connection is reset before any work · `cut`: the work is done, half the reply
arrives · `lost`: the work is done, no reply arrives · `latency`: a late but good reply."""

Outage = Literal["503", "reset"]
HangUp = Literal["reset", "abort", "flush"]
"""`reset`: reset the connection, as a crash does · `abort`: close it and drop unsent data ·
`flush`: send buffered data, then close it."""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
SERVICES = ("anytrack", "meta", "hubspot")


@attrs.frozen(kw_only=True)
class Faults:
    """Faults to inject.

    Attributes:
        rate: share of the requests that meet a fault, 0 to 1.
        seed: the same seed gives the n-th request of a service the same fault.
        kinds: the faults to choose from, all equally likely.
        services: the services that have faults.
        latency: delay of a late reply, in seconds.
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


class FaultSequence:
    """The faults of one service's requests, in order of arrival."""

    def __init__(self, faults: Faults, service: str) -> None:
        self.latency = faults.latency
        self.kinds = faults.kinds
        self.rate = faults.rate if service in faults.services and faults.kinds else 0.0
        # A text seed: `Random` hashes its bytes itself. `hash(str)` differs in every process.
        self._random = random.Random(f"{faults.seed}:{service}")

    def draw(self) -> FaultKind | None:
        """Return the fault of the next request, if it meets any."""
        # Without faults no number is drawn, so that a run without them costs nothing.
        if not self.rate or self._random.random() >= self.rate:
            return None
        return self._random.choice(self.kinds)


class FaultyService:
    """One service with its outage, its faults and its page of the ledger.

    Attributes:
        service: the vendor's stand-in.
        page: its page of the ledger.
        faults: the faults of its next requests.
        outage: how the service is down, or None while it is up.
        latency: seconds added to every reply.
    """

    def __init__(self, service: Service, page: LedgerPage, faults: FaultSequence) -> None:
        self.service = service
        self.page = page
        self.faults = faults
        self.outage: Outage | None = None
        self.latency = 0.0

    def next_fault(self) -> FaultKind | None:
        """Count a request and return the fault it meets."""
        self.page.requests += 1
        # An outage is not an injected fault: it draws none, and the ledger does not count it.
        if self.outage:
            return "reset" if self.outage == "reset" else None
        fault = self.faults.draw()
        if fault is not None:
            self.page.faults[fault] += 1
        return fault

    def delay(self, fault: FaultKind | None) -> float:
        """Return the seconds to wait before the work."""
        return self.latency + (self.faults.latency if fault == "latency" else 0.0)

    def respond(
        self, request: Request, fault: FaultKind | None
    ) -> tuple[Reply | None, HangUp | None]:
        """Do the work of *request*, unless *fault* prevents it.

        Returns:
            the reply to send, if any, and how to break the connection after it, if at all.
        """
        if fault == "reset":
            return None, "reset"
        # `lost` and `cut` do the work first: a client that tries again finds it done.
        reply = self._reply(request, fault)
        if fault == "lost":
            return None, "abort"
        return (reply.cut_in_half(), "flush") if fault == "cut" else (reply, None)

    def _reply(self, request: Request, fault: FaultKind | None) -> Reply:
        if self.outage:
            return json_reply(503, {"message": "Service Unavailable"})
        if fault == "error":
            return self.service.failure()
        if fault == "throttle":
            return self.service.throttled()
        return self.service.handle(request)
