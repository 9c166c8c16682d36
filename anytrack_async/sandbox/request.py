"""A request and a reply as the stand-ins see them: complete, without a framework, without await."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl

import attrs
import orjson

Headers = Iterable[tuple[bytes, bytes]]
Clock = Callable[[], float]
"""Returns seconds since 1970."""

NO_CONTENT = 204
JSON_TYPE = (b"content-type", b"application/json")


@attrs.define
class Request:
    """One request with its whole body.

    Attributes:
        method: upper case.
        path: decoded, with its leading slash.
        query: the raw query string.
        headers: names in lower case.
        body: the bytes received.
    """

    method: str
    path: str
    query: bytes = b""
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: bytes) -> str:
        """Return the first header called *name*, or an empty string."""
        # A plain search: a request has about ten headers, of which a service reads two.
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")  # as ASGI passes the bytes of a header
        return ""

    @property
    def bearer(self) -> str:
        """The bearer token, or an empty string."""
        scheme, _, token = self.header(b"authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters; of a repeated parameter, the last value."""
        return dict(parse_qsl(self.query.decode("latin-1"), keep_blank_values=True))

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: the body is not JSON (`NaN` and `Infinity` are not JSON).
        """
        return orjson.loads(self.body)


@attrs.frozen
class Reply:
    """One complete reply.

    Attributes:
        status: the HTTP status.
        body: the bytes to send.
        headers: without the content length.
        length: the content length to announce, if it is not the length of *body*.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    length: int | None = None

    @cached_property
    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers with the content length."""
        # A 204 must not have a content length (RFC 9110, 8.6).
        if self.status == NO_CONTENT:
            return [*self.headers]
        length = len(self.body) if self.length is None else self.length
        return [(b"content-length", b"%d" % length), *self.headers]

    def cut_in_half(self) -> Reply:
        """Return a reply that announces this one's length and has half of its body."""
        half = self.body[: len(self.body) // 2]
        return Reply(self.status, half, self.headers, len(self.body))


def json_reply(status: int, data: object, headers: Headers = ()) -> Reply:
    """Return *data* as a JSON reply."""
    return Reply(status, orjson.dumps(data), (JSON_TYPE, *headers))


class Service(Protocol):
    """A vendor's stand-in."""

    def handle(self, request: Request, /) -> Reply:
        """Reply to *request* as the vendor would."""

    def failure(self) -> Reply:
        """Return a 5xx in the vendor's format."""

    def throttled(self) -> Reply:
        """Return the vendor's "too many requests", with a wait of at most a second."""

    def set_tokens(self, tokens: tuple[str, ...], /) -> None:
        """Accept *tokens* from now on, and no others."""
