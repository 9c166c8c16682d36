"""A request and an answer, as the stand-ins see them: no framework, nothing to await."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl

import attrs
import orjson

Headers = Iterable[tuple[bytes, bytes]]
Clock = Callable[[], float]
"""Seconds since 1970."""

NO_CONTENT = 204
_JSON = (b"content-type", b"application/json")


@attrs.define
class Request:
    """One request, its body read.

    Attributes:
        method: upper case.
        path: decoded, with its leading slash.
        query: the raw query string.
        headers: names in lower case.
        body: as sent.
    """

    method: str
    path: str
    query: bytes = b""
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: bytes) -> str:
        """Return the first header called *name*, or an empty string."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    @property
    def bearer(self) -> str:
        """The bearer token, or an empty string."""
        scheme, _, token = self.header(b"authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def params(self) -> dict[str, str]:
        """The query's fields; the last one wins."""
        return dict(parse_qsl(self.query.decode("latin-1"), keep_blank_values=True))

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: it is not JSON; `NaN` and `Infinity` are not either.
        """
        return orjson.loads(self.body)


@attrs.frozen
class Reply:
    """One answer, complete.

    Attributes:
        status: the HTTP status.
        body: as it goes out.
        headers: without the content length.
        length: the content length, if it is to be another one than the body has.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    length: int | None = None

    @cached_property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """All headers of the answer."""
        if self.status == NO_CONTENT:
            return [*self.headers]
        length = len(self.body) if self.length is None else self.length
        return [(b"content-length", b"%d" % length), *self.headers]

    def half(self) -> Reply:
        """Return an answer that promises all of this one and holds half of it."""
        half = self.body[: len(self.body) // 2]
        return Reply(self.status, half, self.headers, len(self.body))


def json_reply(status: int, data: object, headers: Headers = ()) -> Reply:
    """Return *data* as a JSON answer."""
    return Reply(status, orjson.dumps(data), (_JSON, *headers))


class Service(Protocol):
    """A vendor's stand-in."""

    def handle(self, request: Request, /) -> Reply:
        """Answer *request* as the vendor would."""

    def failure(self) -> Reply:
        """Return a 5xx of the vendor's kind."""

    def throttled(self) -> Reply:
        """Return the vendor's way to say "too many requests", with a wait of a second at most."""

    def accept(self, tokens: tuple[str, ...], /) -> None:
        """Take *tokens* from now on, and no others."""
