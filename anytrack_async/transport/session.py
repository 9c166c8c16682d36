"""`Session`: requests to one service."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import httpx

from anytrack_async._version import __version__
from anytrack_async.errors import ClosedError, ConfigurationError, TransportError
from anytrack_async.settings.fields import check_header_value
from anytrack_async.settings.http import HttpSettings, Retry
from anytrack_async.transport.engines.choose import check_engine, open_engine
from anytrack_async.transport.engines.httpx import HttpxEngine
from anytrack_async.transport.errors import safe_text, service_error
from anytrack_async.transport.limit import Limit
from anytrack_async.transport.message import (
    Engine,
    Request,
    Response,
    TotalTimeout,
    Transport,
    read_json,
)
from anytrack_async.transport.retry import Repeat

_TOTAL = 4  # time-outs that one exchange may take in all
_CACHED = 64  # URLs

_JSON = {"Content-Type": "application/json"}
_DEFAULTS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # unpacking would be work on the loop
    "User-Agent": f"anytrack_async/{__version__}",
}

_Query = Mapping[str, str]


class Session:
    """Requests to one service: its address, headers, limit, time-outs and retries.

    Nothing is opened before the first request. Redirects are not followed, cookies not kept, TLS is
    always verified. An injected *transport* takes the place of the connection pool; the limit and
    the retries stay around it, and closing the session closes it (as `httpx.AsyncClient` does).

    Args:
        service: its name in errors.
        base_url: without a slash at its end.
        headers: sent with each request.
        http: time-outs, connections, retries, engine.
        transport: instead of the engine that *http* names.
        bounded: whether whoever sends bounds how many requests are on the wire, and for how long.
            Otherwise there are as many as connections, and each ends after four time-outs, however
            busily the server drips bytes.

    Attributes:
        closed: whether nothing is opened any more: whoever closes it for good says so first.

    Raises:
        ConfigurationError: the engine is not installed, or *base_url* is no URL.
    """

    def __init__(
        self,
        service: str,
        base_url: str,
        *,
        headers: Mapping[str, str],
        http: HttpSettings,
        transport: Transport | None = None,
        bounded: bool = False,
    ) -> None:
        if transport is None:
            check_engine(http)
        self.service = service
        self.closed = False
        self._base = _checked(base_url.rstrip("/"))
        self._http = http
        self._given = transport
        self._bounded = bounded
        self._engine: Engine | None = None
        self._opening = anyio.Lock(fast_acquire=True)
        self._urls: dict[tuple[str, ...], str] = {}
        self._sign(_DEFAULTS | _named(headers))

    def send(
        self,
        method: str,
        *path: str,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Send one request, once, and return the response whatever its status; to be awaited.

        Args:
            method: upper case.
            path: segments behind the base URL; each is percent-encoded.
            params: the query.
            content: the body; JSON unless *headers* say otherwise.
            headers: besides the session's.

        Raises:
            TransportError: there is no response.
        """
        return self._carry(self._request(method, path, params, content, headers))

    async def get(self, *path: str, params: Mapping[str, str] | None = None) -> Any:
        """Read: return the response's JSON; retried as the settings say.

        Raises:
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response is not JSON.
        """
        response = await self._carry(
            self._request("GET", path, params, None, None), self._http.retry
        )
        if not response.success:
            raise service_error(response)
        return await read_json(response)

    async def exchange(self, request: Request) -> Response:
        """Send *request* once, on the engine there is now: before a repeat, this may be closed."""
        return await (self._engine or await self._open()).exchange(request)

    def authorize(self, token: str) -> None:
        """Use *token* as bearer token from now on.

        Raises:
            ConfigurationError: *token* cannot be sent in a header.
        """
        check_header_value("token", token)
        self._sign(self._headers | {"Authorization": f"Bearer {token}"})

    def check_open(self) -> None:
        """Raise `ClosedError` if this is `closed`."""
        if self.closed:
            raise ClosedError("the client is closed: use it inside its `async with` block")

    async def aclose(self) -> None:
        """Close the connections, and the injected transport.

        A later request opens new ones, unless the session is `closed`.
        """
        with anyio.CancelScope(shield=True):
            async with self._opening:  # by a request that came before
                engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()
        elif self._given is not None:
            await self._given.aclose()

    def _sign(self, headers: dict[str, str]) -> None:
        self._headers = headers
        self._typed = headers | _JSON

    async def _open(self) -> Engine:
        async with self._opening:
            if self._engine is None:
                self.check_open()
                self._engine = await self._opened()
            return self._engine

    async def _opened(self) -> Engine:
        http, total = self._http, None if self._bounded else _TOTAL * self._http.timeout
        engine: Engine = (
            HttpxEngine(self._given, http, total=total)
            if self._given is not None
            else await open_engine(self._base, http, total)
        )
        if self._bounded:
            return engine
        return Limit(engine, slots=http.connections, patience=http.timeout)

    def _request(
        self,
        method: str,
        path: tuple[str, ...],
        params: _Query | None,
        content: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Request:
        fields = self._headers if content is None else self._typed
        if headers:
            fields = fields | _named(headers)
        url = None if params else self._urls.get(path)
        return Request(self.service, method, url or self._url(path, params), fields, content)

    def _url(self, path: tuple[str, ...], params: _Query | None) -> str:
        url = self._join(path)
        if params:
            return f"{url}?{urlencode(params, quote_via=quote)}"
        if len(self._urls) < _CACHED:
            self._urls[path] = url
        return url

    def _join(self, path: tuple[str, ...]) -> str:
        return "/".join((self._base, *map(_segment, path)))

    async def _carry(self, request: Request, retry: Retry | None = None) -> Response:
        try:
            return await (self if retry is None else Repeat(self, retry)).exchange(request)
        except httpx.LocalProtocolError:
            # Its text quotes the header it dislikes, and that may be the token.
            raise self._lost("the request is not valid HTTP") from None
        except (httpx.RequestError, OSError) as exc:
            raise self._lost(_why(exc, request.url, self._http.timeout)) from exc

    def _lost(self, why: str) -> TransportError:
        return TransportError(why, service=self.service)


def _checked(url: str) -> str:
    try:
        return str(httpx.URL(url))
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"base_url is not a URL: {exc}") from None


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


def _segment(text: str) -> str:
    if text in ("", ".", ".."):
        # Dots climb up the path even when encoded: clients and servers decode them first.
        raise ValueError(f"a path segment must not be {text!r}")
    return quote(text, safe="")


def _why(exc: Exception, url: str, timeout: float) -> str:
    # Where to is a setting, and often what is wrong; without user and password.
    place = httpx.URL(url).netloc.decode("ascii")
    match exc:
        case httpx.PoolTimeout():
            return f"no free connection within {timeout:g} s"
        case httpx.ConnectTimeout():
            return f"no connection to {place} within {timeout:g} s"
        case TotalTimeout():
            return f"no complete response within {_TOTAL * timeout:g} s"
        case httpx.TimeoutException():
            return f"no response within {timeout:g} s"
        case httpx.ConnectError():
            return f"connection to {place} failed: {safe_text(str(exc))}"
        case _:
            return f"the connection broke off ({type(exc).__name__})"
