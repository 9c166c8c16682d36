"""`AiohttpEngine`: the engine of the ``[speed]`` extra, on aiohttp's client."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from io import BytesIO
from math import isfinite

import aiohttp
import httpx
from yarl import URL

from anytrack_async.settings.http import HttpSettings
from anytrack_async.transport.message import Request, Response, TotalTimeout, decompress

_STREAMED_SIZE = 1_048_576  # bytes above which aiohttp warns unless a body comes as a stream
_MAX_FIELD_SIZE = 102_400  # bytes of a status line or header


class AiohttpEngine:
    """Requests through one `aiohttp.ClientSession`; errors are those of httpx.

    The number of connections is not limited here but by `LimitedEngine`: a request that waits for
    one of aiohttp's own slots is cancelled, without an error, when the session closes.

    If the server has just closed an idle connection, aiohttp itself sends an idempotent request
    (no POST) once more.

    Args:
        http: the timeouts.
        context: for TLS.
        total_timeout: seconds for an exchange as a whole, None for no limit; each exchange with a
            limit costs a timer. Without it nothing limits the time to send a body, since aiohttp
            has no timeout for that.
        keepalive: seconds for which an idle connection is kept.
    """

    def __init__(
        self,
        http: HttpSettings,
        context: ssl.SSLContext,
        *,
        total_timeout: float | None = None,
        keepalive: float = 15.0,
    ) -> None:
        timeout = http.timeout if isfinite(http.timeout) else None
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=keepalive),
            timeout=aiohttp.ClientTimeout(
                total=timeout and total_timeout, connect=timeout, sock_read=timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=_MAX_FIELD_SIZE,
            max_field_size=_MAX_FIELD_SIZE,
        )

    async def exchange(self, request: Request) -> Response:
        """Send *request* and read the response."""
        content = request.content
        try:
            response = await self._http.request(
                request.method,
                _url(request.url),
                headers=request.headers,
                data=BytesIO(content) if content and len(content) > _STREAMED_SIZE else content,
                allow_redirects=False,
            )
            stream = response.content
            body = stream.read_nowait() if stream.is_eof() else await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise _httpx_error(exc) from None  # aiohttp's messages quote the URL and its query
        except (RuntimeError, asyncio.CancelledError) as exc:
            # Closing the session cancels the requests that wait for a DNS lookup.
            if not self._http.closed or _is_task_cancelled():
                raise
            raise httpx.CloseError("the session was closed during the request") from exc
        headers = response.headers
        return request.build_response(response.status, headers, decompress(headers, body))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()


@lru_cache(maxsize=64)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


def _is_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _httpx_error(exc: Exception) -> httpx.TransportError:
    # The order counts: aiohttp's timeouts are also its client errors, and `OSError`s.
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return httpx.ConnectError(str(exc.certificate_error))
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(str(exc.os_error))
        case aiohttp.ConnectionTimeoutError():
            kind: type[httpx.TransportError] = httpx.ConnectTimeout
        case aiohttp.ServerTimeoutError():
            kind = httpx.ReadTimeout
        case TimeoutError():
            kind = TotalTimeout
        case (
            aiohttp.ClientResponseError()
            | aiohttp.ClientPayloadError()
            | aiohttp.ServerDisconnectedError()
        ):
            kind = httpx.RemoteProtocolError
        case aiohttp.ClientError() | OSError():
            kind = httpx.ReadError
        case _:
            kind = httpx.LocalProtocolError
    return kind(type(exc).__name__)
