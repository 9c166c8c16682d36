"""`Credentials`: the access token to send, static or refreshed by OAuth before it expires."""

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

from anytrack_async.destinations.hubspot.problem import HubSpotError, Problem, ProblemKind
from anytrack_async.destinations.hubspot.responses import read_problem
from anytrack_async.destinations.hubspot.settings import HubSpotSettings, OAuthSettings, OAuthTokens
from anytrack_async.errors import TransportError
from anytrack_async.settings.fields import check_header_value
from anytrack_async.transport.message import Response
from anytrack_async.transport.session import Session

_RENEWAL_MARGIN = 60.0
"""Seconds before its expiry at which a token is renewed, but at most a tenth of its lifetime.

A token that lasts 1,800 s is renewed after 1,740 s, a token that lasts 100 s after 90 s.
"""

_DEFAULT_LIFETIME = 1800.0
"""Seconds for which a token is assumed to be valid if HubSpot does not say."""

_LONGEST_LIFETIME = 1e8
"""Seconds, about three years: a much larger number would exceed the range of `datetime`."""

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

_log = logging.getLogger("anytrack_async.hubspot")


class Credentials:
    """Keeps the access token to send.

    Args:
        settings: the settings with a static token, an OAuth app, or both.
        session: the session that sends refresh requests.
        path: path of the token operation.
        clock: returns monotonic seconds.

    Source: HubSpot, "Working with OAuth": follow ``expires_in``.
    """

    def __init__(
        self,
        settings: HubSpotSettings,
        session: Session,
        path: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._oauth = settings.oauth
        self._session = session
        self._path = path
        self._clock = clock
        self._token = settings.access_token
        self._refresh_token = settings.oauth.refresh_token if settings.oauth else ""
        self._renew_at = float("inf")
        self._refreshing = anyio.Lock()
        self._hide_secrets()

    @property
    def identity(self) -> str:
        """The key by which HubSpot counts requests: the OAuth app's installation, or the token."""
        oauth = self._oauth
        return f"{oauth.client_id} {oauth.refresh_token}" if oauth else self._token or ""

    def use(self, token: str) -> None:
        """Use *token* from now on: an access token, or with an OAuth app a refresh token.

        With an app, the next request gets an access token first.

        Raises:
            ConfigurationError: *token* cannot be sent in a header.
        """
        check_header_value("token", token)
        if self._oauth is None:
            self._token, self._renew_at = token, float("inf")
        else:
            self._token, self._refresh_token = None, token
        self._hide_secrets()

    async def current(self) -> str:
        """Return the token to send now, refreshed if it is about to expire.

        Raises:
            HubSpotError: the token could not be refreshed.
        """
        if self._token is not None and self._clock() < self._renew_at:
            return self._token
        return await self._replace(self._token)

    async def renew(self, refused: str) -> str | None:
        """Return a token that replaces the *refused* one; None if there is none.

        Raises:
            HubSpotError: the token could not be refreshed.
        """
        if self._oauth is None:
            # `use` may have replaced the token while the request was in flight.
            return self._token if self._token != refused else None
        return await self._replace(refused)

    async def _replace(self, stale: str | None) -> str:
        # Requests refused at the same time wait for this lock, and share one refresh.
        async with self._refreshing:
            if self._token is None or self._token == stale:
                self._token = await self._refresh(self._oauth)
            return self._token

    async def _refresh(self, oauth: OAuthSettings | None) -> str:
        if oauth is None:
            problem = Problem(kind=ProblemKind.NEEDS_OPERATOR, message="there is no access token")
            raise HubSpotError(problem)
        refresh_token = self._refresh_token
        grant = await self._request_grant(oauth)
        if self._refresh_token != refresh_token:
            return await self._refresh(oauth)  # `use` has replaced the refresh token meanwhile
        token, lifetime = grant["access_token"], _lifetime(grant.get("expires_in"))
        self._renew_at = self._clock() + lifetime - min(_RENEWAL_MARGIN, lifetime / 10)
        self._refresh_token = grant.get("refresh_token") or self._refresh_token
        self._hide_secrets(token)
        await _call_on_tokens(oauth, token, self._refresh_token, lifetime)
        return str(token)

    async def _request_grant(self, oauth: OAuthSettings) -> Mapping[str, Any]:
        form = {
            "grant_type": "refresh_token",
            "client_id": oauth.client_id,
            "client_secret": oauth.client_secret,
            "refresh_token": self._refresh_token,
        }
        try:
            response = await self._session.send(
                "POST",
                *self._path,
                content=urlencode(form).encode(),
                headers=_FORM,
                grants_secrets=True,
            )
        except TransportError as exc:
            raise HubSpotError(_unavailable(str(exc.args[0]))) from exc
        if not response.success:
            raise HubSpotError(_refused(response))
        grant = response.json_object()
        if not isinstance(grant.get("access_token"), str):
            raise HubSpotError(_unavailable("the response has no access_token"))
        return grant

    def _hide_secrets(self, token: str | None = None) -> None:
        # The token last: the session forgets the oldest ones, and most answers quote the token.
        client_secret = self._oauth.client_secret if self._oauth else None
        self._session.hide_secrets(client_secret, self._refresh_token, token or self._token)


def _refused(response: Response) -> Problem:
    problem = read_problem(response.status, response.headers, response.content)
    # HubSpot answers 400 to an unknown refresh token or secret: that needs an operator.
    rejected = problem.kind in (ProblemKind.REJECTED, ProblemKind.INCONCLUSIVE)
    return attrs.evolve(
        problem,
        kind=ProblemKind.NEEDS_OPERATOR if rejected else problem.kind,
        message=f"the access token could not be refreshed: {problem.message}",
        unmasked="",  # so that `masked` keeps this message
    )


def _unavailable(reason: str) -> Problem:
    message = f"the access token could not be refreshed: {reason}"
    return Problem(kind=ProblemKind.UNAVAILABLE, message=message)


def _lifetime(expires_in: Any) -> float:
    if isinstance(expires_in, int | float) and expires_in >= 0:
        return float(min(expires_in, _LONGEST_LIFETIME))
    return _DEFAULT_LIFETIME


async def _call_on_tokens(
    oauth: OAuthSettings, token: str, refresh_token: str, lifetime: float
) -> None:
    if oauth.on_tokens is None:
        return
    expires_at = datetime.now(UTC) + timedelta(seconds=lifetime)
    try:
        result = oauth.on_tokens(
            OAuthTokens(access_token=token, refresh_token=refresh_token, expires_at=expires_at)
        )
        if inspect.isawaitable(result):
            await result
    except Exception as exc:
        # The new token is usable anyway. The exception's message may contain it, so it is not
        # logged.
        _log.error(
            "hubspot: on_tokens failed (%s): the new tokens were not saved", type(exc).__name__
        )
