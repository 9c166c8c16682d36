"""`Portal`: requests to one HubSpot portal, paced, signed in, with refusals told apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import orjson

from anytrack_async.destinations.hubspot.classify import read_problem
from anytrack_async.destinations.hubspot.oauth import Credentials
from anytrack_async.destinations.hubspot.paths import Path, Paths
from anytrack_async.destinations.hubspot.problem import Act, Problem
from anytrack_async.destinations.hubspot.rate_limit import Limiter, shared_limiter
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.signals import SERVICE, Refused
from anytrack_async.errors import DecodeError, TransportError
from anytrack_async.transport.message import Response, Transport
from anytrack_async.transport.session import Session

_LONGEST_HOLD = 60.0  # seconds; a caller who waits for a day would rather be told


class Portal:
    """Requests to one portal.

    Attributes:
        paths: where the operations are.
        credentials: which token is sent.
        zone: the portal's time zone, once known.
    """

    def __init__(self, settings: HubSpotSettings, transport: Transport | None) -> None:
        self._settings = settings
        self._session = Session(
            SERVICE, settings.base_url, headers={}, http=settings.http, transport=transport
        )
        self.paths = Paths(settings.api_version)
        self.credentials = Credentials(settings, self._session, self.paths.token)
        self.zone: tzinfo | None = settings.time_zone
        self._limiter: Limiter | None = None  # kept, or it would be forgotten between two requests

    async def write(self, path: Path, inputs: Sequence[Any], *, free: bool = False) -> Response:
        """Send one batch and return the response, a 2xx.

        Args:
            path: of the operation.
            inputs: at most as many as it takes.
            free: whether HubSpot leaves the operation out of its ten-second count.

        Raises:
            Refused: anything but a 2xx.
        """
        return await self.call("POST", path, orjson.dumps({"inputs": inputs}), free=free)

    async def call(
        self, method: str, path: Path, content: bytes | None = None, *, free: bool = False
    ) -> Response:
        """Send one request and return the response, a 2xx.

        Raises:
            Refused: anything but a 2xx.
        """
        token = await self.credentials.current()
        response = await self._send(token, method, path, content, free)
        if response.status == 401 and (fresh := await self.credentials.renewed(token)):
            response = await self._send(fresh, method, path, content, free)
        if response.success:
            return response
        raise Refused(self._problem(response), response.content)

    async def read(self, path: Path) -> Any:
        """Return what is at *path*, JSON.

        Raises:
            Refused: there is no response, or anything but a 2xx with JSON in it.
        """
        return decoded(await self.call("GET", path))

    def spacing(self, since: float) -> float:
        """Return the seconds to wait for a fuller batch, *since* seconds after the last left."""
        return self._limiter.spacing(since) if self._limiter is not None else 0.0

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()

    async def _send(
        self, token: str, method: str, path: Path, content: bytes | None, free: bool
    ) -> Response:
        self._limiter = limiter = shared_limiter(self.credentials.identity, self._settings)
        if not free:
            await limiter.take()
        try:
            response = await self._session.send(
                method, *path, content=content, headers={"Authorization": f"Bearer {token}"}
            )
        except TransportError as exc:
            raise Refused(Problem(act=Act.DOWN, message=str(exc.args[0]))) from exc
        limiter.learn(response.headers)
        return response

    def _problem(self, response: Response) -> Problem:
        problem = read_problem(response.status, response.headers, response.content, zone=self.zone)
        after = problem.after or 0.0
        if problem.act is Act.WAIT and after <= _LONGEST_HOLD and self._limiter is not None:
            self._limiter.hold(after)  # also for other sinks of this token
        return problem


def decoded(response: Response) -> Any:
    """Return the response's JSON.

    Raises:
        Refused: it is not JSON.
    """
    try:
        return response.json()
    except DecodeError as exc:
        message = f"the response (status {response.status}) is not JSON"
        raise Refused(Problem(act=Act.DOWN, message=message, status=response.status)) from exc
