"""What stands before a service: its page of the ledger, its outages and its faults."""

from __future__ import annotations

from typing import Literal

import attrs

from anytrack_async.sandbox.faults import FaultKind, Injector
from anytrack_async.sandbox.ledger import Account
from anytrack_async.sandbox.wire import Reply, Request, Service, json_reply

Outage = Literal["503", "reset"]
Farewell = Literal["reset", "close", "flush"]
"""`reset`: what a crash looks like · `close`: drop it, whatever is unsent ·
`flush`: send what was written, then close."""


@attrs.frozen
class Ending:
    """How a request ends.

    Attributes:
        reply: what is sent, if anything.
        farewell: how the connection ends, if it does.
    """

    reply: Reply | None
    farewell: Farewell | None = None


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

    def end(self, request: Request, fault: FaultKind | None) -> Ending:
        """Do what *request* asks, unless *fault* comes first, and return how it ends."""
        if fault == "reset":
            return Ending(None, "reset")
        reply = self._reply(request, fault)
        if fault == "lost":
            return Ending(None, "close")
        return Ending(reply.half(), "flush") if fault == "cut" else Ending(reply)

    def _reply(self, request: Request, fault: FaultKind | None) -> Reply:
        if self.down:
            return json_reply(503, {"message": "Service Unavailable"})
        if fault == "error":
            return self.service.failure()
        if fault == "throttle":
            return self.service.throttled()
        return self.service.handle(request)
