"""`Portal`: authenticated, rate-limited requests to one HubSpot portal; `Paths`: their URLs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, TypeAlias

import anyio
import attrs
import orjson

from anytrack_async.destinations.hubspot.oauth import Credentials
from anytrack_async.destinations.hubspot.problem import SERVICE, HubSpotError, Problem, ProblemKind
from anytrack_async.destinations.hubspot.rate_limit import RateLimiter, reported_limits
from anytrack_async.destinations.hubspot.responses import is_page, read_problem
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.responses import Confirmations
from anytrack_async.errors import DecodeError, ResponseLimitError, TransportError
from anytrack_async.transport.long_json import read_json
from anytrack_async.transport.message import Response, Transport
from anytrack_async.transport.session import Session

Path: TypeAlias = tuple[str, ...]
"""Segments of a URL's path."""

_LEGACY_VERSION = "v3"

_LONGEST_PAUSE = 60.0
"""Seconds for which requests of every sink with the same token wait when one sink is throttled.

If the pause is longer, as for a daily limit, their requests are sent, throttled too, and pause
their own lanes.
"""


class Portal:
    """Requests to one portal.

    Attributes:
        paths: the paths of HubSpot's operations.
        credentials: the access token to send.
        rate_limiter: limits the request rate.
        zone: the portal's time zone, None until it is known.
        confirmations: reports the first response that confirms in other words than documented.
    """

    def __init__(self, settings: HubSpotSettings, transport: Transport | None) -> None:
        self._session = Session(
            SERVICE, settings.base_url, headers={}, http=settings.http, transport=transport
        )
        self.paths = Paths(settings.api_version)
        self.credentials = Credentials(settings, self._session, self.paths.token)
        self.rate_limiter = RateLimiter(lambda: self.credentials.identity, settings)
        self.zone: tzinfo | None = settings.time_zone
        self.confirmations = Confirmations(SERVICE)
        self._limits = settings.http.limits
        self._has_accepted = False

    async def write(self, path: Path, inputs: Sequence[Any], *, counted: bool = True) -> Response:
        """Send one batch and return the response, a 2xx.

        Args:
            path: the operation's path.
            inputs: the batch, not more than the operation allows.
            counted: whether HubSpot counts the operation towards its ten-second limit.

        Raises:
            HubSpotError: there was no response, or no 2xx.
        """
        content = orjson.dumps({"inputs": inputs})
        try:
            return await self.call("POST", path, content, counted=counted)
        except HubSpotError as exc:
            # A firewall may refuse one input for its content; if it refuses a single input and
            # nothing was accepted before, it probably refuses everything.
            may_be_one_input = self._has_accepted or len(inputs) > 1
            if may_be_one_input and is_page(exc.problem.status or 0, exc.content):
                problem = attrs.evolve(exc.problem, kind=ProblemKind.INCONCLUSIVE)
                raise HubSpotError(problem, exc.content) from exc
            raise

    async def call(
        self, method: str, path: Path, content: bytes | None = None, *, counted: bool = True
    ) -> Response:
        """Send one request and return the response, a 2xx.

        After a 401 the token is renewed, if an OAuth app is configured, and the request sent again.

        Raises:
            HubSpotError: there was no response, or no 2xx.
        """
        token = await self.credentials.current()
        response = await self._send(token, method, path, content, counted)
        if response.status == 401 and (renewed := await self.credentials.renew(token)):
            response = await self._send(renewed, method, path, content, counted)
        if response.success:
            self._has_accepted = True
            return response
        raise HubSpotError(self._problem(response), response.content)

    async def read(self, path: Path) -> Any:
        """Return the JSON at *path*.

        Raises:
            HubSpotError: there was no response, no 2xx, or no JSON in it.
        """
        response = await self.call("GET", path)
        try:
            return await read_json(response, self._limits)  # a portal may have many properties
        except DecodeError as exc:
            raise _no_json(response) from exc
        except ResponseLimitError as exc:
            raise _unavailable(exc) from exc

    def read_batch_response(self, response: Response) -> Any:
        """Return the JSON of a 2xx *response* to `write`; its errors quote no secrets.

        Raises:
            HubSpotError: the body is not JSON.
        """
        body = json_of(response)
        if isinstance(body, dict) and body.get("errors"):
            body["errors"] = self._session.mask(body["errors"])
        return body

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
            raise _unavailable(exc) from exc
        window.learn(anyio.current_time(), *reported_limits(response.headers))
        return response

    def _problem(self, response: Response) -> Problem:
        problem = read_problem(response.status, response.headers, response.content, zone=self.zone)
        seconds = problem.retry_after or 0.0
        if problem.kind is ProblemKind.THROTTLED and seconds <= _LONGEST_PAUSE:
            self.rate_limiter.pause(seconds)
        return problem


def json_of(response: Response) -> Any:
    """Return the JSON of *response*.

    Raises:
        HubSpotError: the body is not JSON.
    """
    try:
        return response.json()
    except DecodeError as exc:
        raise _no_json(response) from exc


def _unavailable(exc: TransportError) -> HubSpotError:
    return HubSpotError(Problem(kind=ProblemKind.UNAVAILABLE, message=str(exc.args[0])))


def _no_json(response: Response) -> HubSpotError:
    message = f"the response (status {response.status}) is not JSON"
    return HubSpotError(
        Problem(kind=ProblemKind.UNAVAILABLE, message=message, status=response.status)
    )


@attrs.frozen
class Paths:
    """The paths of one API version.

    A version that is a date follows the API's name (``crm/objects/2026-09/…``). Older versions are
    a number for each API, before its name (``crm/v3/objects/…``, ``crm/v4/associations/…``).

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
        # Dates in this form sort as text. "custom" is in the path since 2026-09.
        if self._legacy or self.version < "2026-09":
            return ("events", self.version, "send", "batch")
        return ("events", "custom", self.version, "send", "batch")

    def _crm(self, api: str) -> Path:
        return ("crm", "v3", api) if self._legacy else ("crm", api, self.version)
