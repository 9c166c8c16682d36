"""`HttpTelemetry`: a span and a duration for each HTTP request.

A sink's session does not know the client. So a lane that is traced sets `ACTIVE` in the context of
its batch, and each request that is sent in that context is recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from anytrack_async.telemetry import names

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Tracer


class _Response(Protocol):
    @property
    def status(self) -> int: ...


_R = TypeVar("_R", bound=_Response)


class HttpTelemetry:
    """Records requests as spans of kind CLIENT, and their durations.

    Args:
        tracer: makes the spans.
        duration: the histogram of ``http.client.request.duration``, in seconds.
    """

    def __init__(self, tracer: Tracer, duration: Histogram) -> None:
        self._tracer = tracer
        self._duration = duration

    async def record(
        self,
        method: str,
        url: str,
        exchange: Callable[[], Awaitable[_R]],
        mask: Callable[[str], str],
    ) -> _R:
        """Return the response of *exchange*, and record the request.

        Args:
            method: the HTTP method, which is the span's name.
            url: recorded without its query, and without secrets.
            exchange: sends the request.
            mask: hides secrets in a text.
        """
        from opentelemetry.trace import SpanKind

        parts = urlsplit(url)
        attributes = _request_attributes(method, parts)
        started = perf_counter()
        with self._tracer.start_as_current_span(
            method,
            kind=SpanKind.CLIENT,
            attributes={
                **attributes,
                names.URL: f"{parts.scheme}://{parts.netloc}{mask(parts.path)}",
            },
            record_exception=False,  # its message may quote a secret
            set_status_on_exception=False,
        ) as span:
            try:
                response = await exchange()
            except BaseException as exc:
                attributes[names.ERROR_TYPE] = type(exc).__qualname__
                raise
            else:
                attributes |= _response_attributes(response.status)
                return response
            finally:
                for key in (names.HTTP_STATUS, names.ERROR_TYPE):
                    if key in attributes:
                        span.set_attribute(key, attributes[key])
                if names.ERROR_TYPE in attributes:
                    set_failed(span)
                self._duration.record(perf_counter() - started, attributes)


ACTIVE: ContextVar[HttpTelemetry | None] = ContextVar("anytrack_async_http_telemetry", default=None)
"""The recorder of requests in the present context."""


def set_failed(span: Any) -> None:
    """Give *span* the status ERROR, without a text, which might quote a customer."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def _request_attributes(method: str, parts: SplitResult) -> dict[str, Any]:
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {
        names.HTTP_METHOD: method,
        names.SERVER_ADDRESS: parts.hostname or "",
        names.SERVER_PORT: port,
    }


def _response_attributes(status: int) -> dict[str, Any]:
    if status < 400:
        return {names.HTTP_STATUS: status}
    return {names.HTTP_STATUS: status, names.ERROR_TYPE: str(status)}
