"""Access: tokens, scopes and request limits.

Source: HubSpot: OAuth, manage tokens; API usage guidelines and limits.
"""

from __future__ import annotations

import itertools
from collections import deque
from urllib.parse import parse_qs

from anytrack_async.sandbox.hubspot.messages import (
    HubSpotError,
    missing_scope,
    too_many,
    unauthorized,
)
from anytrack_async.sandbox.hubspot.schema import PORTAL_ID
from anytrack_async.sandbox.request import Clock, Reply, Request, json_reply
from anytrack_async.sandbox.settings import HubSpotPortal

# Fields of a reply that only versions named by a date have.
_DATED_FIELDS = {"token_use": "access_token", "hub_id": PORTAL_ID}
_DAY = 86_400


class Tokens:
    """Access tokens: those in the settings, and those issued for the refresh token."""

    def __init__(self, portal: HubSpotPortal, clock: Clock) -> None:
        self._portal = portal
        self._clock = clock
        self._numbers = itertools.count(1)
        self._fixed: frozenset[str] = frozenset(portal.tokens)
        self._retired: set[str] = set()
        self._issued: dict[str, float] = {}

    def set_tokens(self, tokens: tuple[str, ...]) -> None:
        """Accept *tokens* and no others: all earlier tokens have expired."""
        # Remembered, because HubSpot tells an expired token (EXPIRED_AUTHENTICATION) from one that
        # it has never seen (INVALID_AUTHENTICATION).
        self._retired |= {*self._fixed, *self._issued}
        self._retired -= {*tokens}
        self._issued.clear()
        self._fixed = frozenset(tokens)

    def check(self, token: str) -> None:
        """Check that *token* is valid.

        Raises:
            HubSpotError: the token is missing, unknown or expired.
        """
        if token in self._fixed or self._issued.get(token, 0.0) > self._clock():
            return
        expired = token in self._retired or token in self._issued
        raise unauthorized("EXPIRED_AUTHENTICATION" if expired else "INVALID_AUTHENTICATION")

    def check_scope(self, scope: str) -> None:
        """Check that the tokens have *scope*.

        Raises:
            HubSpotError: they do not.
        """
        if self._portal.scopes is not None and scope not in self._portal.scopes:
            raise missing_scope(scope)

    def refresh(self, request: Request) -> Reply:
        """`POST /oauth/{version}/token` with `grant_type=refresh_token`."""
        form = {k: v[-1] for k, v in parse_qs(request.body.decode("latin-1")).items()}
        if form.get("grant_type") != "refresh_token":
            raise _bad_request("BAD_GRANT_TYPE", "missing or unknown grant_type")
        if (form.get("client_id"), form.get("client_secret")) != self._client:
            raise _bad_request("BAD_CLIENT_SECRET", "missing or unknown client id or secret")
        if form.get("refresh_token") != self._portal.refresh_token:
            raise _bad_request("BAD_REFRESH_TOKEN", "missing or invalid refresh token")
        token = f"sandbox-access-token-{next(self._numbers)}"
        self._issued[token] = self._clock() + self._portal.token_life
        reply = {
            "access_token": token,
            "refresh_token": self._portal.refresh_token,
            "expires_in": self._portal.token_life,
            "token_type": "bearer",
        }
        # Versions by date, such as /oauth/2026-09/, reply with more fields than v1.
        dated = not request.path.startswith("/oauth/v1/")
        return json_reply(200, {**reply, **(_DATED_FIELDS if dated else {})})

    @property
    def _client(self) -> tuple[str, str]:
        return self._portal.client_id, self._portal.client_secret


def _bad_request(status: str, message: str) -> HubSpotError:
    return HubSpotError(
        status=400, category=status, message=message, reason=status, extra={"status": status}
    )


class Limits:
    """Request limits of a portal with a single app: per rolling interval and per day.

    Example: with 100 requests per 10 s, a client that sent 100 within the first second is refused
    until 10 s after its first request, and then gets one request for each one that is 10 s old.
    """

    def __init__(self, portal: HubSpotPortal, clock: Clock) -> None:
        self._limit = portal.limit
        self._interval = portal.interval
        self._daily = portal.daily
        self._clock = clock
        self._recent: deque[float] = deque()
        self._day = 0
        self._today = 0

    def count_request(self) -> None:
        """Count one request.

        Raises:
            HubSpotError: a limit is reached; the request is not counted.
        """
        now = self._clock()
        self._expire(now)
        if self._today >= self._daily:
            raise too_many("DAILY")
        if len(self._recent) >= self._limit:
            raise too_many("TEN_SECONDLY_ROLLING")
        self._recent.append(now)
        self._today += 1

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers with the limits and the remaining requests."""
        return (
            (b"x-hubspot-ratelimit-max", b"%d" % self._limit),
            (b"x-hubspot-ratelimit-remaining", b"%d" % (self._limit - len(self._recent))),
            (b"x-hubspot-ratelimit-interval-milliseconds", b"%d" % (self._interval * 1000)),
            (b"x-hubspot-ratelimit-daily", b"%d" % self._daily),
            (b"x-hubspot-ratelimit-daily-remaining", b"%d" % (self._daily - self._today)),
        )

    def _expire(self, now: float) -> None:
        while self._recent and now - self._recent[0] >= self._interval:
            self._recent.popleft()
        # The daily limit starts again at midnight in the portal's time zone, here UTC.
        if (today := int(now // _DAY)) != self._day:
            self._day, self._today = today, 0
