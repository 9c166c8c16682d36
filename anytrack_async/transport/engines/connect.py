"""`connect`: opens a connection, with TLS where the address asks for it."""

from __future__ import annotations

import ssl

import anyio
import httpx
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

_PORTS = {"http": 80, "https": 443}


async def connect(url: httpx.URL, context: ssl.SSLContext, *, timeout: float) -> ByteStream:
    """Return a stream to *url*'s host.

    Args:
        url: scheme, host and port.
        context: for TLS.
        timeout: seconds for connecting, and once more for the handshake.

    Raises:
        httpx.ConnectError: the text says why.
        httpx.ConnectTimeout: it takes too long.
    """
    try:
        return await _secured(await _reached(url, timeout), url, context, timeout)
    except TimeoutError as exc:
        raise httpx.ConnectTimeout("too slow") from exc
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as exc:
        raise httpx.ConnectError(_reason(exc)) from exc


async def _reached(url: httpx.URL, timeout: float) -> ByteStream:
    with anyio.fail_after(timeout):
        return await anyio.connect_tcp(_host(url), url.port or _PORTS[url.scheme])


async def _secured(
    stream: ByteStream, url: httpx.URL, context: ssl.SSLContext, timeout: float
) -> ByteStream:
    if url.scheme == "http":
        return stream
    try:
        with anyio.fail_after(timeout):
            return await TLSStream.wrap(
                stream,
                server_side=False,
                hostname=_host(url),
                ssl_context=context,
                standard_compatible=False,
            )
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()  # not waiting for the server
        raise


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _reason(exc: Exception) -> str:
    cause = exc.__cause__
    if isinstance(cause, BaseExceptionGroup):  # one for each address of the host
        cause = cause.exceptions[0]
    return str(cause or exc)
