"""Readers of ASGI scopes, WSGI environments and the request objects of web frameworks.

A request object is known by its attributes, so that no framework is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.forwarding import TrustedProxies
from anytrack_async.models.request import Visitor, request_url, visitor

_PATH_CHARACTERS = "/:@!$&'()*+,;=~"


def visitor_from_request(
    request: Any, trusted_proxies: TrustedProxies = (), *, property_id: str | None = None
) -> Visitor:
    """Return the visitor of *request*, of nearly any web framework; see `visitor`.

    Args:
        request: a request of Starlette, FastAPI, Litestar, Quart, Django, Flask or aiohttp; an ASGI
            scope; or a WSGI environment.
        trusted_proxies: see `visitor`.
        property_id: see `visitor`.

    Raises:
        InvalidArgumentError: *request* is none of these, or *trusted_proxies* is wrong. Nothing
            that a visitor sends raises.
    """
    if isinstance(request, Mapping):  # first: a request of Starlette is a mapping of its scope
        scope: Any = request
    else:
        scope = getattr(request, "scope", None)
    if _is_scope(scope):
        return visitor_from_asgi_scope(scope, trusted_proxies, property_id=property_id)
    for environ in (request, getattr(request, "environ", None), getattr(request, "META", None)):
        if isinstance(environ, Mapping) and "REQUEST_METHOD" in environ:
            return visitor_from_wsgi_environ(environ, trusted_proxies, property_id=property_id)
    if hasattr(request, "rel_url") and hasattr(request, "headers"):
        return _visitor_from_aiohttp(request, trusted_proxies, property_id)
    raise InvalidArgumentError(
        "request",
        f"{type(request).__name__} is no request that is known: call visitor(headers, query, "
        "cookies, peer, trusted_proxies) with its parts",
    )


def _is_scope(scope: object) -> bool:
    return isinstance(scope, Mapping) and scope.get("type") in ("http", "websocket")


def visitor_from_asgi_scope(
    scope: Mapping[str, Any],
    trusted_proxies: TrustedProxies = (),
    *,
    property_id: str | None = None,
) -> Visitor:
    """Return the visitor of the request of an ASGI *scope*; see `visitor`.

    Args:
        scope: of type ``http`` or ``websocket``.
        trusted_proxies: see `visitor`. Where the server itself replaces ``scope["client"]``, as
            uvicorn does with ``--proxy-headers``, its answer is the peer.
        property_id: see `visitor`.

    Source: ASGI, HTTP and WebSocket message format.
    """
    headers, peer = scope.get("headers") or (), scope.get("client")
    query = scope.get("query_string") or b""
    text = query.decode("latin-1") if isinstance(query, bytes) else query
    scheme = str(scope.get("scheme") or "http").replace("ws", "http", 1)
    url = request_url(headers, scheme, _path(scope), text, peer, trusted_proxies)
    return visitor(headers, query, None, peer, trusted_proxies, url=url, property_id=property_id)


def _path(scope: Mapping[str, Any]) -> str:
    raw = scope.get("raw_path")
    if isinstance(raw, bytes):
        return raw.partition(b"?")[0].decode("latin-1")
    return _quoted(scope.get("path"))


def _quoted(path: object) -> str:
    return quote(path, safe=_PATH_CHARACTERS, errors="ignore") if isinstance(path, str) else ""


def visitor_from_wsgi_environ(
    environ: Mapping[str, Any],
    trusted_proxies: TrustedProxies = (),
    *,
    property_id: str | None = None,
) -> Visitor:
    """Return the visitor of the request of a WSGI *environ*; see `visitor`.

    Source: PEP 3333, environ variables.
    """
    headers = [
        (name[5:].replace("_", "-"), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    query, peer = environ.get("QUERY_STRING") or "", environ.get("REMOTE_ADDR") or None
    scheme = str(environ.get("wsgi.url_scheme") or "http")
    path = _quoted(_text(f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"))
    url = request_url(headers, scheme, path, query, peer, trusted_proxies)
    return visitor(headers, query, None, peer, trusted_proxies, url=url, property_id=property_id)


def _text(path: str) -> str:
    """Return the text of a WSGI path: PEP 3333 has UTF-8 as Latin-1, Django replaces it by text."""
    try:
        return path.encode("latin-1").decode()
    except ValueError:
        return path


def _visitor_from_aiohttp(
    request: Any, trusted_proxies: TrustedProxies, property_id: str | None
) -> Visitor:
    headers, query = request.headers, request.rel_url.raw_query_string
    scheme, path = request.scheme, request.rel_url.raw_path
    url = request_url(headers, scheme, path, query, request.remote, trusted_proxies)
    return visitor(
        headers, query, None, request.remote, trusted_proxies, url=url, property_id=property_id
    )
