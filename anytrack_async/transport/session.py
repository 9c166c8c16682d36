"""`Session`: requests to one service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import httpx

from anytrack_async._version import __version__
from anytrack_async.errors import ConfigurationError, TransportError
from anytrack_async.settings import HttpSettings
from anytrack_async.transport.answer import Answer
from anytrack_async.transport.body import read_json
from anytrack_async.transport.engine import check_engine, open_engine
from anytrack_async.transport.faults import service_error
from anytrack_async.transport.limit import LimitTransport, TotalTimeout
from anytrack_async.transport.retry import RetryTransport
from anytrack_async.transport.text import safe_text
from anytrack_async.transport.wrapper import Transport

_TOTAL = 4  # time-outs that one exchange may take in all
_CACHED = 64  # URLs

_UNPACKED = {"Accept-Encoding": "identity"}  # unpacking would be work on the loop
_JSON = {"Content-Type": "application/json"}
_DEFAULTS = httpx.Headers(
    {
        "Accept": "application/json",
        "User-Agent": f"anytrack_async/{__version__}",
    }
)

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
    ) -> None:
        if transport is None:
            check_engine(http)
        self.service = service
        self._base = _checked(base_url.rstrip("/"))
        self._http = http
        self._headers = _fields(_DEFAULTS, headers)
        names = ("connect", "read", "write", "pool")
        self._extensions = {"timeout": dict.fromkeys(names, http.timeout)}
        self._given = transport
        self._limit: LimitTransport | None = None
        self._opening = anyio.Lock()
        self._urls: dict[tuple[str, ...], httpx.URL] = {}

    async def send(
        self,
        method: str,
        *path: str,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request, once, and return the answer whatever its status.

        Args:
            method: upper case.
            path: segments behind the base URL; each is percent-encoded.
            params: the query.
            content: the body; JSON unless *headers* say otherwise.
            headers: besides the session's.

        Raises:
            TransportError: there is no answer.
        """
        request = self._request(method, path, params, content, headers)
        return await self._carry(self._limit or await self._open(), request)

    async def get(self, *path: str, params: Mapping[str, str] | None = None) -> Any:
        """Read: return the answer's JSON; retried as the settings say.

        Raises:
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the answer is not JSON.
        """
        request = self._request("GET", path, params, None, _UNPACKED)
        limit = self._limit or await self._open()
        answer = await self._carry(RetryTransport(limit, self._http.retry), request)
        if not answer.success:
            raise service_error(answer)
        return await read_json(answer)

    def authorize(self, token: str) -> None:
        """Use *token* as bearer token from now on.

        Raises:
            ConfigurationError: it cannot be one.
        """
        if not token or not token.isascii() or not token.isprintable() or token != token.strip():
            raise ConfigurationError("the token must be printable ASCII without blanks around it")
        self._headers = _fields(self._headers, {"Authorization": f"Bearer {token}"})

    async def aclose(self) -> None:
        """Close the connections, and the injected transport; a later request opens new ones."""
        limit, self._limit = self._limit, None
        if limit is not None:
            await limit.aclose()
        elif self._given is not None:
            await self._given.aclose()

    async def _open(self) -> LimitTransport:
        async with self._opening:
            if self._limit is None:
                http = self._http
                self._limit = LimitTransport(
                    self._given or await open_engine(self._base, http),
                    slots=http.connections,
                    patience=http.timeout,
                    total=_TOTAL * http.timeout,
                )
            return self._limit

    def _request(
        self,
        method: str,
        path: tuple[str, ...],
        params: _Query | None,
        content: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Request:
        typed = _JSON if content is not None else {}
        return httpx.Request(
            method,
            self._url(path, params),
            headers=_fields(self._headers, typed, headers or {}),
            content=content,
            extensions=self._extensions,
        )

    def _url(self, path: tuple[str, ...], params: _Query | None) -> httpx.URL:
        if params:
            return httpx.URL(f"{self._join(path)}?{urlencode(params, quote_via=quote)}")
        url = self._urls.get(path)
        if url is None:
            url = httpx.URL(self._join(path))
            if len(self._urls) < _CACHED:
                self._urls[path] = url
        return url

    def _join(self, path: tuple[str, ...]) -> str:
        return "/".join((self._base, *map(_segment, path)))

    async def _carry(self, transport: Transport, request: httpx.Request) -> Answer:
        try:
            response = await transport.handle_async_request(request)
        except httpx.LocalProtocolError:
            # Its text quotes the header it dislikes, and that may be the token.
            raise self._lost("the request is not valid HTTP") from None
        except (httpx.RequestError, OSError) as exc:
            raise self._lost(_why(exc, request.url, self._http.timeout)) from exc
        return Answer(
            status=response.status_code,
            headers=response.headers,
            content=response.content,
            service=self.service,
            sent=request.content,
        )

    def _lost(self, why: str) -> TransportError:
        return TransportError(why, service=self.service)


def _checked(url: str) -> str:
    try:
        httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"base_url is not a URL: {exc}") from None
    return url


def _fields(base: httpx.Headers, *more: Mapping[str, str]) -> httpx.Headers:
    fields = httpx.Headers(base)
    for extra in more:
        for name, value in extra.items():
            fields[name] = value
    return fields


def _segment(text: str) -> str:
    if text in ("", ".", ".."):
        # Dots climb up the path even when encoded: clients and servers decode them first.
        raise ValueError(f"a path segment must not be {text!r}")
    return quote(text, safe="")


def _why(exc: Exception, url: httpx.URL, timeout: float) -> str:
    # Where to is a setting, and often what is wrong; without user and password.
    place = url.netloc.decode("ascii")
    match exc:
        case httpx.PoolTimeout():
            return f"no free connection within {timeout:g} s"
        case httpx.ConnectTimeout():
            return f"no connection to {place} within {timeout:g} s"
        case TotalTimeout():
            return f"no complete answer within {_TOTAL * timeout:g} s"
        case httpx.TimeoutException():
            return f"no answer within {timeout:g} s"
        case httpx.ConnectError():
            return f"connection to {place} failed: {safe_text(str(exc))}"
        case _:
            return f"the connection broke off ({type(exc).__name__})"
