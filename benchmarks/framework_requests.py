"""Row 23: the time that ``await client.submit()`` adds to a request, in each web framework."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from anytrack_async import AnyTrack, AnyTrackClient
from benchmarks.measure import Row
from benchmarks.server import running
from benchmarks.shop import client, conversion, meta_sink, record
from benchmarks.starlette_request import App

NUMBER = 23
NEEDS = ("starlette", "fastapi", "litestar", "quart", "django", "aiohttp")

_Respond: TypeAlias = Callable[[int], Any]
"""Answers request number n; a coroutine function."""

_PATHS = ("plain", "submitted")


def run(quick: bool) -> Row:
    """Compare handlers that make a conversion; only one of each pair submits it."""
    count = 50 if quick else 500
    with running() as server, tempfile.TemporaryDirectory() as folder:
        memory = asyncio.run(_added(server.url, None, count))
        sqlite = asyncio.run(_added(server.url, Path(folder) / "outbox.db", count))
        threads = {
            "memory": _added_to_threads(server.url, None, count),
            "SQLite": _added_to_threads(server.url, Path(folder) / "threads.db", count),
        }
    most_memory = max(*memory.values(), threads["memory"])
    most_sqlite = max(*sqlite.values(), threads["SQLite"])
    return Row(
        number=NUMBER,
        measure="what `submit()` adds to a request of Starlette, FastAPI, Litestar, Quart, Django, "
        "aiohttp and, without an event loop, to a call (memory, SQLite)",
        against="the same handler without",
        target="p50 ≤ 1 ms, ≤ 5 ms",
        result=f"p50 + {most_memory:.2f} ms, + {most_sqlite:.2f} ms at most",
        reached=most_memory <= 1 and most_sqlite <= 5,
        details=(
            *(f"{name}: {memory[name]:+.3f} ms, {sqlite[name]:+.2f} ms" for name in memory),
            f"in a thread: {threads['memory']:+.3f} ms, {threads['SQLite']:+.2f} ms",
        ),
    )


async def _added(url: str, outbox: Path | None, count: int) -> dict[str, float]:
    """Return framework → the milliseconds that submitting adds to the median request."""
    added = {}
    for name, make in _APPS.items():
        own = None if outbox is None else outbox.with_name(f"{name}.db")
        async with client(url, sinks=[meta_sink(url)], outbox=own) as tracker:
            app = make(*_handlers(tracker))
            request = _aiohttp_request if name == "aiohttp" else _request
            durations: dict[str, list[float]] = {path: [] for path in _PATHS}
            for number in range(count):
                for path in _PATHS:
                    durations[path].append(await request(app, f"/{path}/{number}"))
                    await asyncio.sleep(0.002)
        plain, submitted = (median(durations[path]) for path in _PATHS)
        added[name] = (submitted - plain) * 1e3
    return added


def _added_to_threads(url: str, outbox: Path | None, count: int) -> float:
    inner = client(url, sinks=[meta_sink(url)], outbox=outbox)
    durations = []
    with AnyTrack(client=inner) as tracker:
        for number in range(count):
            sale = conversion(record(number))
            began = time.perf_counter()
            tracker.submit(sale, to=["meta"])
            durations.append(time.perf_counter() - began)
            time.sleep(0.002)
    return median(durations) * 1e3


def _handlers(tracker: AnyTrackClient) -> tuple[_Respond, _Respond]:
    async def plain(number: int) -> str:
        return conversion(record(number)).event_id

    async def submitted(number: int) -> str:
        return (await tracker.submit(conversion(record(number)), to=["meta"])).event_id

    return plain, submitted


async def _request(app: App, path: str) -> float:
    """Return the seconds until the visitor has the whole response."""
    ended = 0.0
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"shop.test")],
        "root_path": "",
        "scheme": "http",
        "server": ("shop.test", 80),
        "client": ("203.0.113.5", 4711),
    }
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await asyncio.get_running_loop().create_future()  # the client stays connected
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        nonlocal ended
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended = time.perf_counter()
        await asyncio.sleep(0)

    began = time.perf_counter()
    await app(scope, receive, send)
    return ended - began


def _starlette(*handlers: _Respond) -> App:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def route(path: str, respond: _Respond) -> Route:
        async def handle(request: Request) -> PlainTextResponse:
            return PlainTextResponse(await respond(request.path_params["number"]))

        return Route(f"/{path}/{{number:int}}", handle)

    return Starlette(routes=[*map(route, _PATHS, handlers)])


def _fastapi(*handlers: _Respond) -> App:
    from fastapi import FastAPI

    app = FastAPI()
    for path, handler in zip(_PATHS, handlers, strict=True):
        app.get(f"/{path}/{{number}}")(handler)
    return app


def _litestar(*handlers: _Respond) -> App:
    from litestar import Litestar, get

    routes = [
        get(f"/{path}/{{number:int}}")(handler)
        for path, handler in zip(_PATHS, handlers, strict=True)
    ]
    app: Any = Litestar(routes)
    return app


def _quart(*handlers: _Respond) -> App:
    from quart import Quart

    app: Any = Quart(__name__)
    for path, handler in zip(_PATHS, handlers, strict=True):
        app.get(f"/{path}/<int:number>", endpoint=path)(handler)
    return app


def _django(*handlers: _Respond) -> App:
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path as url

    def view(respond: _Respond) -> Callable[..., Any]:
        async def handle(_: HttpRequest, number: int) -> HttpResponse:
            return HttpResponse(await respond(number))

        return handle

    urls: Any = type(sys)("shop_urls")
    urls.urlpatterns = [
        url(f"{path}/<int:number>", view(handler))
        for path, handler in zip(_PATHS, handlers, strict=True)
    ]
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="not used")
        django.setup()
    settings.ROOT_URLCONF = urls
    django.urls.clear_url_caches()
    return get_asgi_application()


def _aiohttp(*handlers: _Respond) -> Any:
    from aiohttp import web

    def route(path: str, respond: _Respond) -> web.RouteDef:
        async def handle(request: web.Request) -> web.Response:
            return web.Response(text=await respond(int(request.match_info["number"])))

        return web.get(f"/{path}/{{number}}", handle)

    app = web.Application()
    app.add_routes([*map(route, _PATHS, handlers)])
    app.freeze()
    return app


async def _aiohttp_request(app: Any, path: str) -> float:
    """Return the seconds that *app*, which is no ASGI application, needs for its response."""
    from aiohttp.test_utils import make_mocked_request

    request = make_mocked_request("GET", path, headers={"Host": "shop.test"}, app=app)
    began = time.perf_counter()
    await app._handle(request)
    return time.perf_counter() - began


_APPS: dict[str, Callable[..., App]] = {
    "Starlette": _starlette,
    "FastAPI": _fastapi,
    "Litestar": _litestar,
    "Quart": _quart,
    "Django": _django,
    "aiohttp": _aiohttp,
}
