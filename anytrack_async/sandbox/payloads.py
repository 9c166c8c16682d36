"""The payload log: the requests that each service received lately, with their bodies."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from anytrack_async.sandbox.request import Request

_MAX_ENTRIES = 1_000
_MAX_BYTES = 16 * 2**20

_MASK = "***"
_PERSONAL = frozenset(
    {
        "address",
        "anon_id",
        "city",
        "client_ip_address",
        "client_user_agent",
        "country",
        "ct",
        "customer",
        "date_of_birth",
        "db",
        "em",
        "email",
        "event_source_url",
        "external_id",
        "fb_login_id",
        "fbc",
        "fbp",
        "first_name",
        "firstname",
        "fn",
        "ge",
        "gender",
        "ip",
        "ip_address",
        "last_name",
        "lastname",
        "lead_id",
        "ln",
        "madid",
        "mobilephone",
        "page_url",
        "ph",
        "phone",
        "postal_code",
        "st",
        "state",
        "street",
        "subscription_id",
        "user_agent",
        "zip",
        "zp",
    }
)
"""Keys of values that identify or locate a person, in the services' spelling."""


@attrs.frozen(kw_only=True)
class Payload:
    """One request that a service received.

    Attributes:
        service: the service's name.
        method: the HTTP method.
        path: the path, without the query.
        status: the HTTP status of the reply; 0 if there was none.
        body: the body: JSON as plain data, or text.
        received_at: unix seconds.
    """

    service: str
    method: str
    path: str
    status: int
    body: Any
    received_at: float


class PayloadLog:
    """The last 1,000 requests, with up to 16 MiB of bodies; older ones are dropped."""

    def __init__(self) -> None:
        self._entries: deque[tuple[str, Request, int, float]] = deque()
        self._bytes = 0

    def add(self, service: str, request: Request, status: int, received_at: float) -> None:
        """Record a request that *service* replied to with *status*."""
        self._entries.append((service, request, status, received_at))
        self._bytes += len(request.body)
        # The newest request stays, even if its body alone is over the limit.
        while len(self._entries) > 1 and (
            len(self._entries) > _MAX_ENTRIES or self._bytes > _MAX_BYTES
        ):
            self._bytes -= len(self._entries.popleft()[1].body)

    def read(self, service: str | None = None, *, masked: bool = True) -> list[Payload]:
        """Return the requests in the order of their arrival.

        Args:
            service: only those of this service.
            masked: whether values that identify or locate a person are replaced by ``***``.
        """
        return [
            Payload(
                service=name,
                method=request.method,
                path=request.path,
                status=status,
                body=_masked(_body(request)) if masked else _body(request),
                received_at=received_at,
            )
            for name, request, status, received_at in self._entries
            if service in (None, name)
        ]


def _body(request: Request) -> Any:
    try:
        return orjson.loads(request.body) if request.body else None
    except orjson.JSONDecodeError:
        return request.body.decode(errors="replace")


def _masked(value: Any, *, personal: bool = False) -> Any:
    """Return *value* with each value below a personal key masked; other text is kept."""
    if isinstance(value, Mapping):
        return {
            key: _masked(item, personal=personal or str(key).lower() in _PERSONAL)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, personal=personal) for item in value]
    return _MASK if personal and value is not None else value
