"""Visitors of ASGI scopes, WSGI environments and the request objects of frameworks."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.request import Visitor
from anytrack_async.models.request_objects import (
    visitor_from_asgi_scope,
    visitor_from_request,
    visitor_from_wsgi_environ,
)

HEADERS = {
    "host": "shop.example",
    "user-agent": "Mozilla/5.0",
    "cookie": "_fbp=fb.1.1700000000000.42; _atcid=P1abcDEF12345678",
    "x-forwarded-for": "6.6.6.6, 203.0.113.5",
    "x-forwarded-proto": "https",
    "accept-language": "de",
    "sec-fetch-dest": "document",
}
QUERY = "gclid=G1&token=s3cret"


def scope(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/fü",
        "raw_path": b"/f%C3%BC",
        "root_path": "",
        "query_string": QUERY.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in HEADERS.items()],
        "client": ["10.0.0.2", 4711],
        "server": ("10.0.0.3", 80),
        "extensions": {},
        "state": {},
    } | changes


def environ() -> dict[str, Any]:
    names = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()}
    return names | {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/f\u00c3\u00bc",  # UTF-8 as Latin-1
        "QUERY_STRING": QUERY,
        "REMOTE_ADDR": "10.0.0.2",
        "wsgi.url_scheme": "http",
    }


def starlette() -> Any:
    return pytest.importorskip("starlette.requests").Request(scope())


def litestar() -> Any:
    return pytest.importorskip("litestar").Request(scope())


def quart() -> Any:
    request = pytest.importorskip("quart").Request
    headers = pytest.importorskip("werkzeug.datastructures").Headers(HEADERS)
    parts = ("GET", "http", "/fü", QUERY.encode(), headers, "", "1.1", scope())
    return request(*parts, send_push_promise=None)


def django_asgi() -> Any:
    handlers = pytest.importorskip("django.core.handlers.asgi")
    settings = pytest.importorskip("django.conf").settings
    if not settings.configured:
        settings.configure()
    return handlers.ASGIRequest(scope(), None)


def django_wsgi() -> Any:
    handlers = pytest.importorskip("django.core.handlers.wsgi")
    settings = pytest.importorskip("django.conf").settings
    if not settings.configured:
        settings.configure()
    return handlers.WSGIRequest(environ() | {"wsgi.input": BytesIO()})


def aiohttp() -> Any:
    test_utils = pytest.importorskip("aiohttp.test_utils")
    request = test_utils.make_mocked_request("GET", f"/fü?{QUERY}", headers=HEADERS)
    return request.clone(remote="10.0.0.2")


REQUESTS = (scope, environ, starlette, litestar, quart, django_asgi, django_wsgi, aiohttp)
EXPECTED = Visitor(
    click_id="P1abcDEF12345678",
    client_id="abcDEF12345678",
    clicks={"gclid": "G1"},
    fbp="fb.1.1700000000000.42",
    ip_address="203.0.113.5",
    user_agent="Mozilla/5.0",
    page_url="https://shop.example/f%C3%BC?gclid=G1",
    language="de",
)


@pytest.mark.parametrize("request_object", REQUESTS)
def test_every_framework_gives_the_same_visitor(request_object: Callable[[], Any]):
    assert visitor_from_request(request_object(), ["10.0.0.0/8"]) == EXPECTED


@pytest.mark.parametrize("request_object", REQUESTS)
def test_no_proxy_is_trusted_unless_the_settings_say_so(request_object: Callable[[], Any]):
    seen = visitor_from_request(request_object())

    assert seen.ip_address is None  # the proxy's own, which is private
    assert seen.page_url == "http://shop.example/f%C3%BC?gclid=G1"


def test_scopes_of_servers_differ():
    assert visitor_from_asgi_scope(scope(), 1) == EXPECTED
    assert visitor_from_asgi_scope(scope(raw_path=None, path="/fü"), 1) == EXPECTED
    assert visitor_from_asgi_scope(scope(type="websocket", scheme="wss"), 1) == EXPECTED
    assert visitor_from_asgi_scope(scope(client=None), "unix") == EXPECTED
    assert visitor_from_asgi_scope({"type": "http"}) == Visitor()


def test_a_trusted_proxy_may_replace_the_host():
    headers = [*scope()["headers"], (b"x-forwarded-host", b"a.example, www.shop.example")]

    for trusted, host in ((1, "www.shop.example"), (0, "shop.example")):
        page = visitor_from_asgi_scope(scope(headers=headers), trusted).page_url
        assert page is not None
        assert page.split("/")[2] == host


@pytest.mark.parametrize("wrong", [object(), None, "GET /", {"type": "lifespan"}, {}])
def test_what_is_no_request_is_refused(wrong: Any):
    with pytest.raises(InvalidArgumentError, match="no request that is known"):
        visitor_from_request(wrong)


@given(st.binary(), st.binary(), st.text(), st.lists(st.tuples(st.binary(), st.binary())))
def test_no_scope_and_no_environment_raises(query: bytes, raw: bytes, path: str, headers: Any):
    changes = {"query_string": query, "path": path, "headers": headers}
    visitor_from_asgi_scope(scope(**changes, raw_path=raw), 1)
    visitor_from_asgi_scope(scope(**changes, raw_path=None), 1)
    names = {f"HTTP_{name.decode('latin-1')}": value.decode("latin-1") for name, value in headers}
    changes = {"PATH_INFO": path, "QUERY_STRING": query.decode("latin-1")}
    visitor_from_wsgi_environ(environ() | names | changes, 1)
