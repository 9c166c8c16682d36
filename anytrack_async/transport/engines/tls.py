"""One TLS context per process: loading the CA file takes tens of milliseconds."""

from __future__ import annotations

import ssl
from functools import lru_cache
from threading import Lock

import anyio.to_thread
import httpx

from anytrack_async.errors import ConfigurationError

_lock = Lock()


@lru_cache(maxsize=1)
def _make() -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _once() -> ssl.SSLContext:
    with _lock:
        try:
            return _make()
        except OSError as exc:
            raise ConfigurationError(f"cannot load the CA certificates: {exc}") from exc


async def tls_context() -> ssl.SSLContext:
    """Return the process's TLS context, which verifies; made in a worker thread, once.

    Raises:
        ConfigurationError: the file that `SSL_CERT_FILE` names cannot be read.
    """
    return await anyio.to_thread.run_sync(_once)
