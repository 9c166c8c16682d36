"""What goes to a service and what carries it there: `Request` and the `Engine` protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

import httpx

from anytrack_async.transport.answer import Answer

Transport: TypeAlias = httpx.AsyncBaseTransport
"""What may be injected to carry requests: anything with httpx's asynchronous interface."""


class TotalTimeout(httpx.ReadTimeout):
    """The answer arrives, but so slowly that it is given up."""


class Request(NamedTuple):
    """One request; its `repr` shows neither address nor headers nor body.

    Attributes:
        service: its name in errors.
        method: upper case.
        url: percent-encoded.
        headers: names in title case, so that each is there once; `Host` and `Content-Length` are
            the engine's.
        content: the body.
    """

    service: str
    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None = None

    def __repr__(self) -> str:
        return f"<Request: {self.method} to {self.service}>"

    def answered(self, status: int, headers: Mapping[str, str], content: bytes) -> Answer:
        """Return the answer to this request."""
        return Answer(status, headers, content, self.service, self.content or b"")


class Engine(Protocol):
    """Carries requests. Which engine it is shows only in its price: errors are httpx's for all."""

    async def exchange(self, request: Request) -> Answer:
        """Send *request* once, without following redirects, and read the answer to its end.

        Raises:
            httpx.TransportError: there is none; `TotalTimeout` if it takes too long in all.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
