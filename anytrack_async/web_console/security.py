"""Access control: headers of every response, requests from other sites, admins, the token.

The console shows customers' orders, and can discard conversions. So a page of another site must
neither read the console (frames, scripts) nor make a browser post to it, and no response is cached.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from inspect import isawaitable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

from anytrack_async.descriptions import safe_description
from anytrack_async.errors import ConfigurationError
from anytrack_async.events import logger

AdminAnswer: TypeAlias = bool | str | None
AdminCheck: TypeAlias = Callable[[Request], AdminAnswer | Awaitable[AdminAnswer]]
"""Says whether the sender of a request may change anything: False, True, or the person's name."""

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1_000_000
"""Bytes of a form that are read."""

_HEADERS = {
    # Pico draws the arrows of its menus with images in `data:` addresses. uPlot positions by
    # element.style, which a policy for styles does not restrict.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_SHORTEST_TOKEN = 16  # characters
_COOKIE = "anytrack_console"


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The request is answered with *status* and a page that has *message*."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class SecurityHeaders:
    """Adds the headers to every response of *app*."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def check_same_origin(request: Request) -> None:
    """Check that a page of the console sent *request*.

    Browsers send ``Sec-Fetch-Site`` over https and to this machine. Elsewhere ``Origin`` counts,
    which is "null" for forms of a page without referrers, so that these need https.

    Raises:
        Refused: it comes from another site, or the browser does not say.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin", "")
    if site == "same-origin":
        return
    if site is None and urlsplit(origin).netloc == request.headers.get("host"):
        return
    raise Refused(
        403,
        "Nothing was changed: the request came from another site, or the browser did not say from "
        "where. Open the console over https, or on this machine as http://localhost.",
    )


async def admin_name(request: Request, check: AdminCheck | None) -> str | None:
    """Return the admin's name if an admin sent *request*, else None.

    An error in *check* counts as no.
    """
    if check is None:
        return None
    try:
        answer = check(request)
        if isawaitable(answer):
            answer = await answer
    except Exception as exc:  # the application's code
        logger.error(
            "console: admin() failed, so the request was treated as not from an admin: %s",
            safe_description(exc),
        )
        return None
    if not answer:
        return None
    return answer if isinstance(answer, str) else _sender(request)


def _sender(request: Request) -> str:
    user = request.scope.get("user")
    name = getattr(user, "display_name", None) or getattr(user, "username", None)
    if isinstance(name, str):
        return name
    return request.client.host if request.client else "an admin"


# The token of `anytrack console`


class TokenGate:
    """Lets only requests with the token pass; all others get the form to enter it.

    Programs send ``Authorization: Bearer …``. A browser gets a cookie that proves, until the
    process ends, that the token was entered; the token itself is in no cookie and in no URL.

    Args:
        app: the console.
        token: text of 16 characters or more.
        form: returns the page with the form, given whether a wrong token was entered.

    Raises:
        ConfigurationError: *token* is too short.
    """

    def __init__(self, app: App, token: str, form: Callable[[Request, bool], Any]) -> None:
        if len(token) < _SHORTEST_TOKEN:
            raise ConfigurationError(
                f"the console's token needs {_SHORTEST_TOKEN} characters or more, e.g. "
                f"{secrets.token_urlsafe(24)}"
            )
        self._app, self._token, self._form = app, token.encode(), form
        self._proof = hmac.new(secrets.token_bytes(32), self._token, hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        path = scope["path"].rpartition("/")[2]
        if self._has_token(request) or "/static/" in scope["path"]:
            await self._app(scope, receive, send)
            return
        is_entered = path == "login" and request.method == "POST"
        answer = await self._log_in(request) if is_entered else self._form(request, False)
        await SecurityHeaders(answer)(scope, receive, send)

    def _has_token(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), self._token):
            return True
        return hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), self._proof.encode())

    async def _log_in(self, request: Request) -> Any:
        try:
            check_same_origin(request)
            fields = await read_form(request)
        except Refused as exc:
            return PlainTextResponse(exc.message, exc.status)
        if not hmac.compare_digest(fields.get("token", "").encode(), self._token):
            return self._form(request, True)
        response = RedirectResponse("./", status_code=303)
        is_https = request.url.scheme == "https"
        response.set_cookie(_COOKIE, self._proof, httponly=True, samesite="strict", secure=is_https)
        return response


class HostGate:
    """Lets only requests to this machine's own names pass.

    Without a token, the page of a host name that is changed to point to 127.0.0.1 (DNS rebinding)
    could read the console as if it were part of its own site.
    """

    def __init__(self, app: App, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http":
            host = urlsplit(f"//{Request(scope).headers.get('host', '')}").hostname
            if host not in self._hosts:
                names = ", ".join(sorted(self._hosts))
                response = PlainTextResponse(f"the console answers to {names} only", 421)
                await SecurityHeaders(response)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; the last value of each.

    Raises:
        Refused: the form is too large, or does not say how large it is.
    """
    form = await read_fields(request)
    return {name: values[-1] for name, values in form.items()}


async def read_fields(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form with all their values; see `read_form`."""
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
        raise Refused(413, f"Nothing was changed: a form may have {MAX_BODY:,} bytes at most.")
    fields: dict[str, list[str]] = {}
    async with request.form(max_files=0, max_fields=5_000) as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields.setdefault(name, []).append(value)
    return fields
