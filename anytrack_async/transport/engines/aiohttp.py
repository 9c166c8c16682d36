"""`AiohttpEngine`: what ``[speed]`` brings: aiohttp itself, with no httpx between."""

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

_LARGE = 1_048_576  # bytes that aiohttp wants in pieces
_LONGEST_FIELD = 102_400  # bytes


class AiohttpEngine:
    """Requests through one `aiohttp.ClientSession`, with errors as httpx has them.

    Not limited by itself: goes inside a `Limit`. (Who waits for one of aiohttp's own slots is
    cancelled, not told, when the session closes.) aiohttp sends what is idempotent, thus no POST,
    once more by itself if the server had just closed the connection.

    Args:
        http: the time-outs.
        context: for TLS.
        total: seconds for an exchange in all, None for no limit; each costs a timer. Nothing else
            limits the writing of a body, as aiohttp has no time-out for that.
        kept: seconds an idle connection is kept.
    """

    def __init__(
        self,
        http: HttpSettings,
        context: ssl.SSLContext,
        *,
        total: float | None = None,
        kept: float = 15.0,
    ) -> None:
        timeout = http.timeout if isfinite(http.timeout) else None
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=kept),
            timeout=aiohttp.ClientTimeout(
                total=timeout and total, connect=timeout, sock_read=timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=_LONGEST_FIELD,
            max_field_size=_LONGEST_FIELD,
        )

    async def exchange(self, request: Request) -> Response:
        """Send *request* and read the response."""
        content = request.content
        try:
            response = await self._http.request(
                request.method,
                _url(request.url),
                headers=request.headers,
                data=BytesIO(content) if content and len(content) > _LARGE else content,
                allow_redirects=False,
            )
            arrived = response.content
            body = arrived.read_nowait() if arrived.is_eof() else await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise _translated(exc) from None  # the texts quote the address, query and all
        except (RuntimeError, asyncio.CancelledError) as exc:
            # Closing cancels who waits for an address.
            if not self._http.closed or _cancelled():
                raise
            raise httpx.CloseError("closed meanwhile") from exc
        return request.build_response(
            response.status, response.headers, decompress(response.headers, body)
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()


@lru_cache(maxsize=64)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _translated(exc: Exception) -> httpx.TransportError:
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
