"""`Console`: the ASGI application that `console` returns: routes, errors and the lifespan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from anytrack_async.descriptions import safe_description
from anytrack_async.errors import (
    AnyTrackError,
    ConfigurationError,
    InvalidArgumentError,
    InvalidConversionError,
)
from anytrack_async.events import logger
from anytrack_async.web_console import (
    conversion,
    dead_letters,
    letter_actions,
    overview,
    revenue,
    settings_page,
)
from anytrack_async.web_console.live import LiveFeed
from anytrack_async.web_console.pages import FOLDER, Context
from anytrack_async.web_console.security import (
    Receive,
    Refused,
    Scope,
    SecurityHeaders,
    Send,
)

Handler: TypeAlias = Callable[[Context, Request], Awaitable[Response]]

_READ_WITHIN = 15.0
"""Seconds that a page may take, with the services that it asks."""

_ACT_WITHIN = 120.0
"""Seconds that an action may take, e.g. the checks of all services."""

_PAGES: dict[str, Handler] = {
    "/dead-letters": dead_letters.dead_letters,
    "/edit": letter_actions.edit_form,
    "/job": letter_actions.job,
    "/conversion": conversion.conversion,
    "/conversions": revenue.conversions,
    "/settings": settings_page.settings,
}
_ACTIONS: dict[str, Handler] = {
    "/replay": letter_actions.replay,
    "/discard": letter_actions.discard,
    "/export": letter_actions.export,
    "/stop": letter_actions.stop,
    "/edit": letter_actions.edit,
    "/reveal": conversion.reveal,
    "/find": conversion.find,
    "/check": settings_page.check,
    "/pause": settings_page.pause,
    "/resume": settings_page.resume,
    "/send-test": settings_page.send_test,
}
"""Path → handler. Pages answer GET and change nothing; actions answer POST."""


class Console:
    """The application that `console` returns."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._overview = overview.Overview(context.source)
        self.feed = LiveFeed(self._overview.fragment)
        routes = [
            Route("/", self._handler(self._overview.page)),
            Route("/trends", self._handler(self._overview.trends)),
            Route("/live", self._live),
            *(Route(path, self._handler(page)) for path, page in _PAGES.items()),
            *(
                Route(path, self._handler(action), methods=["POST"])
                for path, action in _ACTIONS.items()
            ),
            Mount("/static", _Static(directory=FOLDER / "static")),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={Refused: self._refused, HTTPException: self._http_error},
        )
        app.router.redirect_slashes = False
        self._app = SecurityHeaders(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            if scope["path"] == scope.get("root_path", "").rstrip("/"):
                # Links are relative: they need the slash at the end of the console's address.
                name = scope["path"].rpartition("/")[2]
                response = RedirectResponse(f"{name}/", status_code=308)
                await response(scope, receive, send)
                return
            await self._app(scope, receive, send)

    async def aclose(self) -> None:
        """End the open streams and jobs, and close the outbox if a request opened it.

        The next request opens both again.
        """
        self.feed.close()
        await self._context.jobs.aclose()
        await self._context.source.aclose()
        self.feed.open()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.aclose()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _live(self, _: Request) -> Response:
        if self.feed.is_full:
            return Response("too many pages are open", 503, {"retry-after": "30"})
        return StreamingResponse(
            self.feed.stream(),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},  # nginx would collect the events
        )

    # Errors

    def _handler(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        return partial(self._answer, handler)

    async def _answer(self, handler: Handler, request: Request) -> Response:
        seconds = _READ_WITHIN if request.method == "GET" else _ACT_WITHIN
        try:
            with anyio.fail_after(seconds):
                return await handler(self._context, request)
        except TimeoutError:
            status, message = 503, f"The outbox did not answer within {seconds:g} s."
        except (InvalidArgumentError, InvalidConversionError, ConfigurationError) as exc:
            status, message = 400, str(exc)
        except AnyTrackError as exc:
            status, message = 503, str(exc)
        except (Refused, HTTPException):
            raise
        except Exception as exc:  # the outbox and the sinks may be third-party code
            logger.error("console: %s failed: %s", request.url.path, safe_description(exc))
            status, message = 500, f"The page failed: {safe_description(exc)}."
        return await self._error_page(request, status, message)

    async def _refused(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, Refused)  # noqa: S101 - for type checkers
        return await self._error_page(request, exc.status, exc.message)

    async def _http_error(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101 - for type checkers
        message = {404: "There is no such page.", 405: "This address takes another method."}
        return await self._error_page(
            request, exc.status_code, message.get(exc.status_code, exc.detail)
        )

    async def _error_page(self, request: Request, status: int, message: str) -> Response:
        return await self._context.page(
            request, "error.html", status=status, message=message, status_code=status
        )


class _Static(StaticFiles):
    """Files with URLs that change with their content, so that browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response
