"""What stands before a service: its page of the ledger, its outages and its faults."""

from __future__ import annotations

from typing import Literal

from anytrack_async.sandbox.faults import FaultKind, Injector
from anytrack_async.sandbox.ledger import Account
from anytrack_async.sandbox.wire import Reply, Request, Service, json_reply

Outage = Literal["503", "reset"]


class Gate:
    """One service, and what is wrong with it at the moment.

    Attributes:
        down: how the service is down, if it is.
        latency: seconds added to every answer.
    """

    def __init__(self, service: Service, account: Account, injector: Injector) -> None:
        self.service = service
        self.account = account
        self.injector = injector
        self.down: Outage | None = None
        self.latency = 0.0

    @property
    def calm(self) -> bool:
        """Whether requests go straight to the service."""
        return not (self.injector.rate or self.down or self.latency)

    def enter(self) -> FaultKind | None:
        """Count a request in and return the fault it meets."""
        self.account.requests += 1
        if self.down:
            return "reset" if self.down == "reset" else None
        fault = self.injector.draw()
        if fault is not None:
            self.account.faults[fault] += 1
        return fault

    def wait(self, fault: FaultKind | None) -> float:
        """Return how many seconds the answer is late."""
        return self.latency + (self.injector.latency if fault == "latency" else 0.0)

    def answer(self, request: Request, fault: FaultKind | None) -> Reply:
        """Return the service's answer to *request*, or the error *fault* stands for."""
        if self.down:
            return json_reply(503, {"message": "Service Unavailable"})
        if fault == "error":
            return self.service.failure()
        if fault == "throttle":
            return self.service.throttled()
        return self.service.handle(request)
