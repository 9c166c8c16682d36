"""`Context`: used by the handlers of all pages; it renders templates and recognises admins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from anytrack_async._version import __version__
from anytrack_async.events import logger
from anytrack_async.web_console import texts
from anytrack_async.web_console.jobs import Jobs
from anytrack_async.web_console.security import AdminCheck, Refused, admin_name, check_same_origin
from anytrack_async.web_console.source import ConsoleSource

FOLDER = Path(__file__).parent

_LOGIN_HEADERS = {"www-authenticate": "Bearer", "cache-control": "no-store"}

NAVIGATION = (
    ("./", "Overview"),
    ("dead-letters", "Dead letters"),
    ("conversions", "Conversions"),
    ("settings", "Settings and checks"),
)
"""Address → title of the pages. All pages are one level deep and all links relative, so the console
works under any prefix, also behind a proxy that takes a prefix off."""


DONE = {
    "replayed": ("dead letter is due again", "dead letters are due again"),
    "discarded": ("dead letter is discarded", "dead letters are discarded"),
    "paused": ("destination is paused", "destinations are paused"),
    "resumed": ("destination tries again", "destinations try again"),
    "corrected": ("conversion is corrected and due again", "conversions are corrected"),
}
"""Value of the parameter ``done`` → message after an action, for one and for several. If the
message itself were in the URL, any link could show a message in the console's name."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(texts.FILTERS)
    environment.globals.update(
        navigation=NAVIGATION,
        version=__version__,
        static=static_address,
        outcomes=texts.OUTCOMES,
        conversion_address=conversion_address,
    )
    return environment


@cache
def static_address(name: str) -> str:
    """Return the address of a file in ``static``; it changes with the content, for caches."""
    digest = hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest()
    return f"static/{name}?{digest[:12]}"


def fragment(template: str, **values: Any) -> str:
    """Return a part of a page as HTML."""
    return _environment().get_template(template).render(**values)


@attrs.define(kw_only=True, eq=False)
class Context:
    """The objects that the handlers of all pages use.

    Attributes:
        source: the client or outbox that the console shows.
        admin: tells whether a request comes from an admin; None if there is no admin.
        title: the console's name.
        jobs: changes of many dead letters, which continue after the request.
    """

    source: ConsoleSource
    admin: AdminCheck | None
    title: str
    jobs: Jobs = attrs.field(factory=Jobs)

    async def page(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """Return the page of *template* with *values*.

        Args:
            request: the request that asked for it.
            template: the name of a file in ``templates``.
            status: HTTP status of the response.
            headers: headers of the response, added to those of every response.
            values: variables of the template.
        """
        html = fragment(
            template,
            title=self.title,
            outbox_name=self.source.name,
            is_admin=await self.is_admin(request),
            notice=_notice(request),
            path=request.url.path.rpartition("/")[2] or "./",
            **values,
        )
        return HTMLResponse(html, status, dict(headers or {}))

    async def is_admin(self, request: Request) -> bool:
        """Return whether the sender of *request* may change anything."""
        return await admin_name(request, self.admin) is not None

    async def check_admin(self, request: Request) -> str:
        """Check that an admin sent *request* from a page of the console; return the admin's name.

        Raises:
            Refused: the sender is not an admin, or the request comes from another site.
        """
        check_same_origin(request)
        name = await admin_name(request, self.admin)
        if name is None:
            raise Refused(403, "Nothing was changed: this console is read-only for you.")
        return name


def conversion_address(event_id: str, **more: str) -> str:
    """Return the permanent address of a conversion."""
    return f"conversion?{urlencode({'event_id': event_id, **more})}"


def log_action(
    name: str, verb: str, count: int, noun: str, *, destination: str = "", event_id: str = ""
) -> None:
    """Log an admin's action, without a customer's data.

    Args:
        name: the admin's name.
        verb: the action, in the past tense.
        count: number of changed things.
        noun: name of the changed things, in the plural.
        destination: the destination concerned; empty for all.
        event_id: the conversion, if it is a single one.
    """
    place = event_id or destination or "all destinations"
    logger.info("console: %s %s %d %s (%s)", name, verb, count, noun, place)


def position(text: str) -> int:
    """Return *text*, a field of a form or a URL, as a position; 0 if it is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _notice(request: Request) -> str:
    action, count = request.query_params.get("done", ""), request.query_params.get("count", "1")
    if action not in DONE or not (count.isascii() and count.isdigit()) or len(count) > 12:
        return ""
    number = int(count)
    return f"{number:,} {DONE[action][number != 1]}."


def login_page(request: Request, is_wrong: bool) -> HTMLResponse:
    """Return the page that asks for the token.

    Args:
        request: the request without a token.
        is_wrong: whether a wrong one was entered.
    """
    return HTMLResponse(fragment("login.html", is_wrong=is_wrong), 401, _LOGIN_HEADERS)
