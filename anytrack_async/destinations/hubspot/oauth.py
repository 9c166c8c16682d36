"""The access token of each moment: a static one, or one that is refreshed in time."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import anyio
import attrs

from anytrack_async.destinations.hubspot.classify import read_problem
from anytrack_async.destinations.hubspot.paths import Path
from anytrack_async.destinations.hubspot.problem import Act, Problem
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings, OAuthTokens
from anytrack_async.destinations.hubspot.signals import Refused
from anytrack_async.errors import TransportError
from anytrack_async.settings.fields import check_header_value
from anytrack_async.transport.message import Response
from anytrack_async.transport.session import Session

_MARGIN = 60.0  # seconds before its end at which a token is replaced, at most a tenth of its life
_LONGEST = 1e8  # seconds that make sense, about three years
_UNTOLD = 1800.0  # seconds a token lives where HubSpot does not say
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

_log = logging.getLogger("anytrack_async.hubspot")


class Credentials:
    """Which token to send.

    Args:
        settings: a static token, an OAuth app, or both.
        session: to refresh with.
        path: of the token operation.
        clock: seconds, monotonic.

    Source: HubSpot, "Working with OAuth": follow ``expires_in``.
    """

    def __init__(
        self,
        settings: HubSpotSettings,
        session: Session,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._oauth = settings.oauth
        self._session = session
        self._path = path
        self._clock = clock
        self._token = settings.access_token
        self._refresh_token = settings.oauth.refresh_token if settings.oauth else ""
        self._renew_at = float("inf")
        self._turn = anyio.Lock()

    @property
    def identity(self) -> str:
        """Whom HubSpot counts requests for: the OAuth app's installation, or the token."""
        oauth = self._oauth
        return f"{oauth.client_id} {oauth.refresh_token}" if oauth else self._token or ""

    def use(self, token: str) -> None:
        """Use *token* from now on.

        Raises:
            ConfigurationError: *token* cannot be sent in a header.
        """
        self._token, self._renew_at = check_header_value("token", token), float("inf")

    async def current(self) -> str:
        """Return the token to send now, refreshed if it is about to end.

        Raises:
            Refused: it could not be refreshed.
        """
        if self._token is not None and self._clock() < self._renew_at:
            return self._token
        return await self._refreshed(self._token)

    async def renewed(self, refused: str) -> str | None:
        """Return a newer token than the *refused* one, None if there is no way to one.

        Raises:
            Refused: it could not be refreshed.
        """
        if self._oauth is None:
            return self._token if self._token != refused else None
        return await self._refreshed(refused)

    async def _refreshed(self, stale: str | None) -> str:
        async with self._turn:  # one refresh for all who wait
            if self._token is None or self._token == stale:
                self._token = await self._refresh(self._oauth)
            return self._token

    async def _refresh(self, oauth: OAuthSettings | None) -> str:
        if oauth is None:  # a token that someone is about to replace by `use`
            raise Refused(Problem(act=Act.HOLD, message="there is no access token"))
        granted = await self._ask(oauth)
        token, life = granted["access_token"], _seconds(granted.get("expires_in"))
        self._renew_at = self._clock() + life - min(_MARGIN, life / 10)
        self._refresh_token = granted.get("refresh_token") or self._refresh_token
        await _hand_over(oauth, token, self._refresh_token, life)
        return str(token)

    async def _ask(self, oauth: OAuthSettings) -> Mapping[str, Any]:
        form = {
            "grant_type": "refresh_token",
            "client_id": oauth.client_id,
            "client_secret": oauth.client_secret,
            "refresh_token": self._refresh_token,
        }
        try:
            response = await self._session.send(
                "POST", *self._path, content=urlencode(form).encode(), headers=_FORM
            )
        except TransportError as exc:
            raise Refused(_down(str(exc.args[0]))) from exc
        if response.success:
            return _granted(response)
        raise Refused(_refused(response, [oauth.client_secret, self._refresh_token]))


def _refused(response: Response, secrets: list[str]) -> Problem:
    problem = read_problem(response.status, response.headers, response.content).without(secrets)
    # HubSpot says 400 to a refresh token or a secret that it does not know.
    act = Act.HOLD if problem.act is Act.REJECT else problem.act
    message = f"the access token could not be refreshed: {problem.message}"
    return attrs.evolve(problem, act=act, message=message, words="")


def _granted(response: Response) -> Mapping[str, Any]:
    granted = response.json_object()
    if not isinstance(granted.get("access_token"), str):
        raise Refused(_down("the response holds no access_token"))
    return granted


def _down(why: str) -> Problem:
    return Problem(act=Act.DOWN, message=f"the access token could not be refreshed: {why}")


def _seconds(value: Any) -> float:
    told = isinstance(value, int | float) and value >= 0
    return min(float(value), _LONGEST) if told else _UNTOLD


async def _hand_over(oauth: OAuthSettings, token: str, refresh_token: str, life: float) -> None:
    if oauth.on_tokens is None:
        return
    expires_at = datetime.now(UTC) + timedelta(seconds=life)
    try:
        kept = oauth.on_tokens(
            OAuthTokens(access_token=token, refresh_token=refresh_token, expires_at=expires_at)
        )
        if inspect.isawaitable(kept):
            await kept
    except Exception as exc:  # the token works all the same, and its text must not reach a log
        _log.error("hubspot: on_tokens failed (%s): new tokens not kept", type(exc).__name__)
