"""A shop's thank-you page in each framework, and a program that serves it.

    python -m tests.integrations.apps fastapi

It prints the port, and serves until SIGTERM. The environment has the client's settings.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anytrack_async import AnyTrackClient, Conversion, visitor_from_request

HOST = "127.0.0.1"


def sale(order: str, request: Any) -> Conversion:
    return Conversion.sale(revenue=5, order_id=order, context=visitor_from_request(request))


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from anytrack_async.integrations.starlette import anytrack_lifespan, client_of

    async def thanks(request: Request) -> PlainTextResponse:
        await client_of(request).submit(sale(request.path_params["order"], request))
        return PlainTextResponse("thanks")

    routes = [Route("/thanks/{order}", thanks, methods=["POST"])]
    return Starlette(routes=routes, lifespan=anytrack_lifespan(AnyTrackClient.from_env))


def fastapi() -> Any:
    from fastapi import Depends, FastAPI, Request

    from anytrack_async.integrations.starlette import anytrack_lifespan, client_of

    @asynccontextmanager
    async def own_lifespan(app: FastAPI) -> Any:
        assert app.state.anytrack  # the shop's own start-up may use the client
        yield {"shop": "open"}

    app = FastAPI(lifespan=anytrack_lifespan(AnyTrackClient.from_env, own_lifespan))

    async def thanks(
        order: str, request: Request, anytrack: Annotated[AnyTrackClient, Depends(client_of)]
    ) -> str:
        assert request.state.shop == "open"
        await anytrack.submit(sale(order, request))
        return "thanks"

    # The annotations are text here, and FastAPI does not see the names of this function.
    thanks.__annotations__ |= {
        "request": Request,
        "anytrack": Annotated[AnyTrackClient, Depends(client_of)],
    }
    app.post("/thanks/{order}")(thanks)
    return app


def litestar() -> Any:
    from litestar import Litestar, Request, post

    from anytrack_async.integrations.litestar import AnyTrackPlugin

    async def thanks(order: str, request: Request[Any, Any, Any], anytrack: AnyTrackClient) -> str:
        await anytrack.submit(sale(order, request))
        return "thanks"

    thanks.__annotations__ |= {"request": Request, "anytrack": AnyTrackClient, "return": str}
    return Litestar(
        [post("/thanks/{order:str}")(thanks)], plugins=[AnyTrackPlugin(AnyTrackClient.from_env)]
    )


def quart() -> Any:
    from quart import Quart, request

    from anytrack_async.integrations.quart import current_client, init_app

    app = Quart(__name__)
    init_app(app, AnyTrackClient.from_env)

    @app.post("/thanks/<order>")
    async def thanks(order: str) -> str:
        await current_client().submit(sale(order, request._get_current_object()))
        return "thanks"

    return app


def _configure_django(thanks: Callable[..., Any]) -> None:
    import django
    from django.conf import settings
    from django.urls import path

    urls = type(sys)("urls")
    urls.urlpatterns = [path("thanks/<str:order>", thanks)]  # type: ignore[attr-defined]
    settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=[HOST], SECRET_KEY="not used")
    django.setup()


def django() -> Any:
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse

    from anytrack_async.integrations.django import client_of, with_anytrack

    async def thanks(request: HttpRequest, order: str) -> HttpResponse:
        await client_of(request).submit(sale(order, request))
        return HttpResponse("thanks")

    _configure_django(thanks)
    return with_anytrack(get_asgi_application(), AnyTrackClient.from_env)


def serve_asgi(app: Any, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])


def serve_by_hypercorn(app: Any, listener: socket.socket) -> None:
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    # A descriptor that it may close, with the port that is announced already.
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.graceful_timeout, config.shutdown_timeout, config.errorlog = 5, 30, None

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await serve(app, config, shutdown_trigger=stop.wait)

    asyncio.run(run())


def serve_aiohttp(listener: socket.socket) -> None:
    from aiohttp import web

    from anytrack_async.integrations.aiohttp import ANYTRACK, anytrack_context

    async def thanks(request: web.Request) -> web.Response:
        await request.app[ANYTRACK].submit(sale(request.match_info["order"], request))
        return web.Response(text="thanks")

    app = web.Application()
    app.cleanup_ctx.append(anytrack_context(AnyTrackClient.from_env))
    app.router.add_post("/thanks/{order}", thanks)
    web.run_app(app, sock=listener, print=None, shutdown_timeout=5)


def serve_django_wsgi(listener: socket.socket) -> None:
    """Django under WSGI, with a thread per request, and the client for code without a loop."""
    from socketserver import ThreadingMixIn
    from threading import Thread
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse

    from anytrack_async.sync import AnyTrack

    anytrack = AnyTrack.from_env()

    def thanks(request: HttpRequest, order: str) -> HttpResponse:
        anytrack.submit(sale(order, request))
        return HttpResponse("thanks")

    class Handler(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = False  # closing waits for the requests that are being answered

        def handle_error(self, *_: Any) -> None: ...  # a client that hung up

    _configure_django(thanks)
    server = Server(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket, (server.server_name, server.server_port) = listener, listener.getsockname()
    server.setup_environ()
    server.set_app(get_wsgi_application())
    signal.signal(signal.SIGTERM, lambda *_: Thread(target=server.shutdown).start())
    with anytrack:
        server.serve_forever(poll_interval=0.02)
        server.server_close()


ASGI = {"starlette": starlette, "fastapi": fastapi, "litestar": litestar, "quart": quart}
ASGI["django"] = django
FRAMEWORKS = (*ASGI, "starlette-hypercorn", "aiohttp", "django-wsgi")


def main(framework: str) -> None:
    listener = socket.create_server((HOST, 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    if framework in ASGI:
        serve_asgi(ASGI[framework](), listener)
    elif framework == "starlette-hypercorn":
        serve_by_hypercorn(starlette(), listener)
    elif framework == "aiohttp":
        serve_aiohttp(listener)
    else:
        serve_django_wsgi(listener)


if __name__ == "__main__":
    main(sys.argv[1])
