"""`Session`: requests to one service."""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from asyncio import _get_running_loop as running_loop
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import httpx

from anytrack_async._version import __version__
from anytrack_async.errors import (
    ClosedError,
    ConfigurationError,
    WrongEventLoopError,
)
from anytrack_async.settings.fields import check_header_value
from anytrack_async.settings.http import HttpSettings
from anytrack_async.telemetry.http import ACTIVE, HttpTelemetry
from anytrack_async.transport.errors import QUOTING_ERRORS, service_error, transport_error
from anytrack_async.transport.httpx import HttpxEngine
from anytrack_async.transport.long_json import ListReader, read_json
from anytrack_async.transport.message import Engine, Request, Response, Transport
from anytrack_async.transport.retry import LimitedEngine, RetryingEngine
from anytrack_async.transport.secrets import Secrets

_MAX_CACHED_URLS = 64
_SHORTEST_URL_SECRET = 16  # characters of a segment of the base URL

_JSON = {"Content-Type": "application/json"}
_DEFAULT_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # decompression would block the event loop
    "User-Agent": f"anytrack_async/{__version__}",
}


class Session:
    """Requests to one service: its base URL, headers, limits, timeouts and retries.

    A read (`get`) goes through ``RetryingEngine(LimitedEngine(engine))``. `send` goes without the
    retries: lanes retry deliveries. The engine is opened by the first request.

    Redirects are not followed, cookies are not kept, and TLS certificates are always verified.

    Its secrets are hidden in each response and each error: every bearer token that it has used, the
    password of a proxy, parts of the base URL that look like a token, and those passed to
    `hide_secrets`.

    Args:
        service: the service's name, for error messages.
        base_url: requests go to paths below it.
        headers: sent with each request.
        http: timeouts, connections, retries, engine.
        transport: used instead of the engine that *http* names, and closed with the session (as
            `httpx.AsyncClient` does). Limits and retries still apply.
        limited: whether the session limits the requests on the wire to the number of connections,
            and each exchange to four timeouts, however slowly the server sends. False for a caller
            that limits both itself.

    Attributes:
        check: called before each read; raises if the read must not be made.

    Raises:
        ConfigurationError: the engine is not installed, or *base_url* is not a URL.
    """

    def __init__(
        self,
        service: str,
        base_url: str,
        *,
        headers: Mapping[str, str],
        http: HttpSettings,
        transport: Transport | None = None,
        limited: bool = True,
    ) -> None:
        if transport is None:
            from anytrack_async.transport.pool import require_engine

            require_engine(http)
        self.service = service
        self._own_url = _check_url(base_url)
        self._base_url = _check_url(base_url.rstrip("/"))
        self._http = http
        self._transport = transport
        self._limited = limited
        self._urls: dict[tuple[str, ...], str] = {}
        self._secrets = Secrets()
        self._engine = _LazyEngine(self._open_engine, self._secrets.mask)
        self._reads = RetryingEngine(self._engine, http.retry)
        self._secrets.add(*filter(_looks_secret, self._base_url.split("/")[3:]))
        self._set_headers(_DEFAULT_HEADERS | _title_case(headers))
        self.check: Callable[[], None] | None = None

    @property
    def closed(self) -> bool:
        """Whether requests raise `ClosedError` rather than open a new engine after `aclose`."""
        return self._engine.closed

    @closed.setter
    def closed(self, value: bool) -> None:
        self._engine.closed = value

    def set_telemetry(self, telemetry: HttpTelemetry | None) -> None:
        """Record each request with *telemetry*; None records those of traced lanes only."""
        self._engine.telemetry = telemetry

    def send(
        self,
        method: str,
        *path: str,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        grants_secrets: bool = False,
    ) -> Coroutine[Any, Any, Response]:
        """Send one request, once, and return the response whatever its status; to be awaited.

        Args:
            method: upper case.
            path: segments below the base URL; each is percent-encoded.
            params: the query.
            content: the body; JSON unless *headers* say otherwise.
            headers: added to those of the session, with names in title case or not among those.
            grants_secrets: whether a success contains secrets on purpose, such as a renewed token;
                they are not hidden there.

        Raises:
            TransportError: there is no response.
        """
        request = self._request(method, path, params, content, headers)
        return self._exchange(self._engine, request, grants_secrets)

    async def get(
        self,
        *path: str,
        params: Mapping[str, str] | None = None,
        read_list: ListReader | None = None,
    ) -> Any:
        """Read JSON, with retries.

        Args:
            path: segments below the base URL; each is percent-encoded.
            params: the query.
            read_list: reads the list in ``"data"``, in a worker thread if it is long, so that the
                records of a long list are never all in memory.

        Raises:
            WrongEventLoopError: the session is in use in another event loop.
            TransportError: there is no response, after the last retry.
            ServiceError: the status is not a 2xx, after the last retry; a subclass by status.
            DecodeError: the response is not JSON.
            ResponseLimitError: the response is over a limit, or has too many values for it.
        """
        if self.check is not None:
            self.check()
        self._engine.check_loop()
        request = self._request("GET", path, params, None, None)
        response = await self._exchange(self._reads, request)
        if not response.success:
            raise service_error(response)
        return await read_json(response, self._http.limits, read_list)

    def authorize(self, token: str) -> None:
        """Use *token* as bearer token from now on.

        Raises:
            ConfigurationError: *token* cannot be sent in a header.
        """
        check_header_value("token", token)
        self._set_headers(self._headers | {"Authorization": f"Bearer {token}"})

    def hide_secrets(self, *secrets: str | None) -> None:
        """Hide *secrets*, too, in all later responses and errors; None is ignored."""
        self._secrets.add(*secrets)

    def mask(self, value: Any) -> Any:
        """Return *value*, as JSON has it, with ``***`` in place of quoted secrets.

        For the failures that a success describes: `send` returns a long success with its secrets,
        unless it quotes one in full and without escapes.
        """
        return self._secrets.mask_json(value)

    def mask_response(self, response: Response) -> Response:
        """Return *response* with ``***`` in place of quoted secrets, in its headers too."""
        return self._secrets.mask_response(response)

    async def aclose(self) -> None:
        """Close the connections, and the injected transport.

        A later request opens new connections, unless the session is `closed`.
        """
        if self._transport is not None and not self._engine.is_open:
            await self._transport.aclose()
        else:
            await self._engine.aclose()

    # Engines

    async def _open_engine(self) -> Engine:
        http = self._http
        total_timeout = http.exchange_seconds if self._limited else http.limits.max_seconds
        if self._transport is not None:
            engine: Engine = HttpxEngine(self._transport, http, total_timeout=total_timeout)
        else:
            from anytrack_async.transport.pool import open_engine, proxy_secrets

            self._secrets.add(*proxy_secrets(self._base_url))
            engine = await open_engine(self._base_url, http, total_timeout)
        if not self._limited:
            return engine
        return LimitedEngine(engine, slots=http.connections, timeout=http.timeout)

    async def _exchange(
        self, engine: Engine, request: Request, grants_secrets: bool = False
    ) -> Response:
        try:
            response = await engine.exchange(request)
        except (httpx.RequestError, OSError) as exc:
            error = transport_error(exc, request, self._http, self._secrets)
            if not isinstance(exc, QUOTING_ERRORS) and not self._secrets.quoted_by(exc):
                raise error from exc
        else:
            if not response.success:
                return self._secrets.mask_response(response)
            return response if grants_secrets else self._secrets.mask_success(response)
        # Raised outside the `except` block, so that no traceback shows the quoting error as well.
        raise error

    # Requests

    def _set_headers(self, headers: dict[str, str]) -> None:
        self._secrets.add(headers.get("Authorization", "").rpartition(" ")[2])
        self._headers = headers
        self._json_headers = headers | _JSON

    def _request(
        self,
        method: str,
        path: tuple[str, ...],
        params: Mapping[str, str] | None,
        content: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Request:
        all_headers = self._headers if content is None else self._json_headers
        if headers:
            all_headers = {**all_headers, **headers}
        url = None if params else self._urls.get(path)
        return Request(self.service, method, url or self._url(path, params), all_headers, content)

    def _url(self, path: tuple[str, ...], params: Mapping[str, str] | None) -> str:
        # Without a path, the URL is kept as it is: a slash at its end may matter.
        url = "/".join((self._base_url, *map(_quote_segment, path))) if path else self._own_url
        if params:
            return f"{url}?{urlencode(params, quote_via=quote)}"
        if len(self._urls) < _MAX_CACHED_URLS:
            self._urls[path] = url
        return url


class _LazyEngine:
    """An engine that is opened by the first request, and again by the first one after closing.

    Attributes:
        closed: if True, a request raises `ClosedError` instead of opening the engine.
        telemetry: records each request, also outside a traced lane.
    """

    def __init__(
        self, open_engine: Callable[[], Awaitable[Engine]], mask: Callable[[str], str]
    ) -> None:
        self.closed = False
        self.telemetry: HttpTelemetry | None = None
        self._mask = mask
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._loop: AbstractEventLoop | None = None
        self._lock = anyio.Lock(fast_acquire=True)

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    def check_loop(self) -> None:
        if self._engine is not None and running_loop() is not self._loop:
            raise WrongEventLoopError(
                "the client has connections in another event loop: use it there, or call "
                "`await client.aclose()` before that event loop ends"
            )

    def exchange(self, request: Request) -> Coroutine[Any, Any, Response]:
        # Mostly the engine's own coroutine: one around it would cost 1 % of an exchange.
        if self._engine is None or self.telemetry or ACTIVE.get():
            return self._open_and_exchange(request)
        return self._engine.exchange(request)

    async def _open_and_exchange(self, request: Request) -> Response:
        engine = self._engine or await self._open()
        telemetry = self.telemetry or ACTIVE.get()
        if telemetry is None:
            return await engine.exchange(request)
        return await telemetry.record(
            request.method, request.url, lambda: engine.exchange(request), self._mask
        )

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._lock:  # a request may be opening the engine right now
                engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()

    async def _open(self) -> Engine:
        if running_loop() is None:
            raise WrongEventLoopError(
                "the request was not sent: it needs asyncio, and another library runs this task; "
                "run it in asyncio, e.g. with asyncio.run() in a thread of its own"
            )
        async with self._lock:
            if self._engine is None:
                if self.closed:
                    raise ClosedError(
                        "the client is closed: use it inside its `async with` block, or between "
                        "`await client.start()` and `await client.aclose()`"
                    )
                self._engine, self._loop = await self._open_engine(), get_running_loop()
            return self._engine


def _check_url(url: str) -> str:
    try:
        return str(httpx.URL(url))
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"base_url is not a URL: {exc}") from None


def _looks_secret(segment: str) -> bool:
    # The address of a webhook or of a proxy for a pixel may contain a token: "/hooks/T4fQ9zX2bW…".
    return len(segment) >= _SHORTEST_URL_SECRET and any(map(str.isdigit, segment))


def _title_case(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


def _quote_segment(text: str) -> str:
    if text in ("", ".", ".."):
        # Clients and servers decode `%2E%2E` before they resolve dots.
        raise ValueError(f"a path segment must not be {text!r}")
    return quote(text, safe="")
