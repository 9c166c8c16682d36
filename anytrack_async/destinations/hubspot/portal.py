"""`Portal`: requests to one HubSpot portal, signed in and paced; `Paths`: where they go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, TypeAlias

import anyio
import attrs
import orjson

from anytrack_async.destinations.hubspot.oauth import Credentials
from anytrack_async.destinations.hubspot.problem import SERVICE, Problem, ProblemKind, Refusal
from anytrack_async.destinations.hubspot.rate_limit import RateLimiter, reported_limits
from anytrack_async.destinations.hubspot.responses import read_problem
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.errors import DecodeError, TransportError
from anytrack_async.transport.message import Response, Transport
from anytrack_async.transport.session import Session

Path: TypeAlias = tuple[str, ...]
"""Segments of a URL's path."""

_LEGACY_VERSION = "v3"

_LONGEST_PAUSE = 60.0
"""Seconds of throttling that other sinks of the token wait out; a longer one, such as a daily
limit, they hear of at once and pause their lanes."""


class Portal:
    """Requests to one portal.

    Attributes:
        paths: where the operations are.
        credentials: have the token to send.
        rate_limiter: admits the requests.
        zone: the portal's time zone, None until it is known.
    """

    def __init__(self, settings: HubSpotSettings, transport: Transport | None) -> None:
        self._session = Session(
            SERVICE, settings.base_url, headers={}, http=settings.http, transport=transport
        )
        self.paths = Paths(settings.api_version)
        self.credentials = Credentials(settings, self._session, self.paths.token)
        self.rate_limiter = RateLimiter(lambda: self.credentials.identity, settings)
        self.zone: tzinfo | None = settings.time_zone

    async def write(self, path: Path, inputs: Sequence[Any], *, counted: bool = True) -> Response:
        """Send one batch and return the response, a 2xx.

        Args:
            path: of the operation.
            inputs: at most as many as it takes.
            counted: whether HubSpot counts the operation towards its ten-second limit.

        Raises:
            Refusal: anything but a 2xx.
        """
        return await self.call("POST", path, orjson.dumps({"inputs": inputs}), counted=counted)

    async def call(
        self, method: str, path: Path, content: bytes | None = None, *, counted: bool = True
    ) -> Response:
        """Send one request and return the response, a 2xx.

        A token that is refused with 401 is renewed, if there is a way, and the request sent again.

        Raises:
            Refusal: anything but a 2xx.
        """
        token = await self.credentials.current()
        response = await self._send(token, method, path, content, counted)
        if response.status == 401 and (renewed := await self.credentials.renew(token)):
            response = await self._send(renewed, method, path, content, counted)
        if response.success:
            return response
        raise Refusal(self._problem(response), response.content)

    async def read(self, path: Path) -> Any:
        """Return the JSON at *path*.

        Raises:
            Refusal: no response, or anything but a 2xx with JSON in it.
        """
        return json_of(await self.call("GET", path))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()

    async def _send(
        self, token: str, method: str, path: Path, content: bytes | None, counted: bool
    ) -> Response:
        window = await self.rate_limiter.acquire(counted=counted)
        try:
            response = await self._session.send(
                method, *path, content=content, headers={"Authorization": f"Bearer {token}"}
            )
        except TransportError as exc:
            problem = Problem(kind=ProblemKind.UNAVAILABLE, message=str(exc.args[0]))
            raise Refusal(problem) from exc
        window.learn(anyio.current_time(), *reported_limits(response.headers))
        return response

    def _problem(self, response: Response) -> Problem:
        problem = read_problem(response.status, response.headers, response.content, zone=self.zone)
        seconds = problem.retry_after or 0.0
        if problem.kind is ProblemKind.THROTTLED and seconds <= _LONGEST_PAUSE:
            self.rate_limiter.pause(seconds)
        return problem


def json_of(response: Response) -> Any:
    """Return the response's JSON.

    Raises:
        Refusal: it is not JSON.
    """
    try:
        return response.json()
    except DecodeError as exc:
        message = f"the response (status {response.status}) is not JSON"
        problem = Problem(kind=ProblemKind.UNAVAILABLE, message=message, status=response.status)
        raise Refusal(problem) from exc


@attrs.frozen
class Paths:
    """The paths of one API version.

    Versions that are dates stand behind the API's name (``crm/objects/2026-09/…``). Before them
    each API had a number of its own (``crm/v3/objects/…``, ``crm/v4/associations/…``).

    Attributes:
        version: ``"2026-09"`` or ``"v3"``.

    Source: HubSpot, "API versioning" and the reference page of each operation.
    """

    version: str

    @property
    def _legacy(self) -> bool:
        return self.version == _LEGACY_VERSION

    def upsert(self, object_type: str) -> Path:
        """Return the path that creates or updates up to 100 ``"deals"`` or ``"contacts"``."""
        return (*self._crm("objects"), object_type, "batch", "upsert")

    @property
    def associate(self) -> Path:
        """The path that links up to 100 deals with contacts."""
        crm = ("crm", "v4", "associations") if self._legacy else self._crm("associations")
        return (*crm, "deals", "contacts", "batch", "associate", "default")

    @property
    def pipelines(self) -> Path:
        """The path of all deal pipelines."""
        return (*self._crm("pipelines"), "deals")

    @property
    def properties(self) -> Path:
        """The path of all deal properties."""
        return (*self._crm("properties"), "deals")

    @property
    def account(self) -> Path:
        """The path of the portal's time zone and currencies."""
        return ("account-info", self.version, "details")

    @property
    def token(self) -> Path:
        """The path that turns a refresh token into an access token."""
        return ("oauth", "v1" if self._legacy else self.version, "token")

    @property
    def events(self) -> Path:
        """The path that takes up to 500 custom events."""
        # Dates compare as text. "custom" came into the path with 2026-09.
        if self._legacy or self.version < "2026-09":
            return ("events", self.version, "send", "batch")
        return ("events", "custom", self.version, "send", "batch")

    def _crm(self, api: str) -> Path:
        return ("crm", "v3", api) if self._legacy else ("crm", api, self.version)
