"""Access tokens: the fixed ones of the settings, and those a refresh token gives.

Source: HubSpot: OAuth, manage tokens.
"""

from __future__ import annotations

import itertools
from urllib.parse import parse_qs

from anytrack_async.sandbox.hubspot.defaults import PORTAL_ID
from anytrack_async.sandbox.hubspot.errors import HubSpotError, missing_scope, unauthorized
from anytrack_async.sandbox.request import Clock, Reply, Request, json_reply
from anytrack_async.sandbox.settings import HubSpotPortal

_SAID_SINCE_DATES = {"token_use": "access_token", "hub_id": PORTAL_ID}


class Tokens:
    """The tokens the portal knows."""

    def __init__(self, portal: HubSpotPortal, clock: Clock) -> None:
        self._portal = portal
        self._clock = clock
        self._numbers = itertools.count(1)
        self._fixed: frozenset[str] = frozenset(portal.tokens)
        self._retired: set[str] = set()
        self._issued: dict[str, float] = {}

    def accept(self, tokens: tuple[str, ...]) -> None:
        """Take *tokens* and no others: those of before have expired."""
        self._retired |= {*self._fixed, *self._issued}
        self._retired -= {*tokens}
        self._issued.clear()
        self._fixed = frozenset(tokens)

    def check(self, token: str) -> None:
        """Let *token* in.

        Raises:
            HubSpotError: it is missing, unknown or out of date.
        """
        if token in self._fixed or self._issued.get(token, 0.0) > self._clock():
            return
        known = token in self._retired or token in self._issued
        raise unauthorized("EXPIRED_AUTHENTICATION" if known else "INVALID_AUTHENTICATION")

    def need(self, scope: str) -> None:
        """Check that tokens have *scope*.

        Raises:
            HubSpotError: they have not.
        """
        if self._portal.scopes is not None and scope not in self._portal.scopes:
            raise missing_scope(scope)

    def refresh(self, request: Request) -> Reply:
        """`POST /oauth/{version}/token` with `grant_type=refresh_token`."""
        form = {k: v[-1] for k, v in parse_qs(request.body.decode("latin-1")).items()}
        if form.get("grant_type") != "refresh_token":
            raise _bad("BAD_GRANT_TYPE", "missing or unknown grant_type")
        if (form.get("client_id"), form.get("client_secret")) != self._client:
            raise _bad("BAD_CLIENT_SECRET", "missing or unknown client id or secret")
        if form.get("refresh_token") != self._portal.refresh_token:
            raise _bad("BAD_REFRESH_TOKEN", "missing or invalid refresh token")
        token = f"sandbox-access-token-{next(self._numbers)}"
        self._issued[token] = self._clock() + self._portal.token_life
        answer = {
            "access_token": token,
            "refresh_token": self._portal.refresh_token,
            "expires_in": self._portal.token_life,
            "token_type": "bearer",
        }
        dated = not request.path.startswith("/oauth/v1/")
        return json_reply(200, {**answer, **(_SAID_SINCE_DATES if dated else {})})

    @property
    def _client(self) -> tuple[str, str]:
        return self._portal.client_id, self._portal.client_secret


def _bad(status: str, message: str) -> HubSpotError:
    return HubSpotError(
        status=400, category=status, message=message, reason=status, extra={"status": status}
    )
