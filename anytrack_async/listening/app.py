"""`WebhookApp`: an ASGI application that takes AnyTrack's webhooks into a client's outbox.

It answers 2xx only after the outbox has the conversions, because AnyTrack documents no retries: a
conversion that was confirmed and then lost would be lost for good. It never answers 500 because of
the content of a request.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from hmac import compare_digest
from inspect import isawaitable
from math import ceil, inf
from typing import Any, TypeAlias

import anyio
import orjson

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.destinations.sink import checked_names
from anytrack_async.errors import (
    AnyTrackError,
    ClosedError,
    ConfigurationError,
    InvalidConversionError,
    QueueFullError,
    UnsendableError,
)
from anytrack_async.events import logger
from anytrack_async.listening.body import (
    DisconnectedError,
    TooLargeBodyError,
    UnreadableBodyError,
    readable_body,
    received_body,
)
from anytrack_async.listening.payload import to_conversion
from anytrack_async.listening.settings import ListenSettings, TokenBucket
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Appended, AppendResult
from anytrack_async.settings.fields import check_header_value
from anytrack_async.transport.message import parse_json

ConversionHook: TypeAlias = Callable[[Conversion], Conversion | Awaitable[Conversion | None] | None]
"""Called with each conversion before it is stored; may return another one to store instead."""

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_CODING = b"content-encoding"
_SHORTEST_SECRET = 16  # characters
_RETRY_AFTER = 5  # seconds, while the outbox is full or locked
_MAX_FAILURES = 100  # kinds of failures of hooks that are logged


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    """The request is answered with *status* and *message*."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


class WebhookApp:
    """Takes AnyTrack's webhooks; plain ASGI, to be mounted under any path or served alone.

    ``POST …/<secret>``, or any path with the secret in a header, with a JSON object or a list of
    them. Answers:

    * 200: every conversion is in the outbox, or was already: ``{"accepted": 1, "repeats": 0}``;
    * 400, 422: the body is not JSON, or tells of no conversion;
    * 401: the secret is missing or wrong; 405: another method than POST (GET answers 200);
    * 408, 413, 415, 429: the body is too slow, too large or compressed with something else than
      gzip and deflate, or there are too many requests;
    * 503: the outbox is full, locked or closed. Sending the same webhook again is safe.

    Served alone, it opens and closes *client* with its lifespan. Mounted in an application without
    one, it opens the client with the first request, unless the application has.

    Args:
        client: stores and delivers the conversions.
        secret: text of 16 characters or more, or several while it is being replaced. It must be in
            the URL that AnyTrack is given. Servers log paths: the application replaces the secret
            in the path that uvicorn logs; elsewhere, switch that log off or send the header.
        to: names of the destinations. Default: all but AnyTrack, which has the conversion already.
        settings: limits.

    Raises:
        ConfigurationError: *secret* is too short; *to* names no destination of the client, or is
            not given and the client has no destination other than AnyTrack.
    """

    def __init__(
        self,
        client: AnyTrackClient,
        *,
        secret: str | Sequence[str],
        to: Sequence[str] | None = None,
        settings: ListenSettings | None = None,
    ) -> None:
        self._client = client
        self._secrets = checked_secrets(secret)
        self._to = _checked_destinations(client, to)
        self._settings = settings or ListenSettings()
        self._header = self._settings.header.lower().encode()
        self._bucket = TokenBucket(self._settings.rate)
        self._hooks: list[ConversionHook] = []
        self._failures: set[tuple[int, type[Exception]]] = set()
        self._requests = 0
        self._opened = False

    def on_conversion(self, hook: ConversionHook) -> ConversionHook:
        """Call *hook*, a function or coroutine function, with each conversion before it is stored.

        It may return another conversion to store instead, e.g. with an `event_id` of your own. If
        it raises, or takes longer than ``hook_within``, the conversion is stored as it was. It is a
        decorator.
        """
        self._hooks.append(hook)
        return hook

    def __repr__(self) -> str:
        return f"<WebhookApp: to {', '.join(self._to)}>"

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def aclose(self) -> None:
        """Close the client, if this application opened it.

        Raises:
            UndeliveredError: see `AnyTrackClient.aclose`.
        """
        if self._opened:
            self._opened = False
            await self._client.aclose()

    async def _lifespan(self, receive: _Receive, send: _Send) -> None:
        while True:
            kind = (await receive())["type"]
            try:
                if kind == "lifespan.startup":
                    await self._open()
                else:
                    await self.aclose()
            except Exception as exc:
                reason = str(exc) if isinstance(exc, AnyTrackError) else safe_description(exc)
                await send({"type": f"{kind}.failed", "message": reason})
                return
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    async def _open(self) -> None:
        if not self._opened:
            await self._client.start()
            self._opened = True

    async def _serve(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        self._requests += 1
        retry_after = None
        try:
            status, content = await self._answer(scope, receive)
        except _Refused as refused:
            status, content = refused.status, {"error": refused.message}
            retry_after = refused.retry_after
        except DisconnectedError:
            return
        finally:
            self._requests -= 1
        body = orjson.dumps(content)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        if retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(ceil(retry_after), 1)))
        if status in (408, 413):
            headers.append((b"connection", b"close"))
        if status == 405:
            headers.append((b"allow", b"POST, GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""}
        )

    async def _answer(self, scope: _Scope, receive: _Receive) -> tuple[int, Mapping[str, Any]]:
        length = self._check_request(scope)
        if scope["method"] in ("GET", "HEAD"):
            return 200, {"status": "ready"}
        if scope["method"] != "POST":
            raise _Refused(405, "send webhooks by POST")
        if self._requests > self._settings.requests:
            raise _Refused(503, "too many requests at once", retry_after=1)
        if wait := self._bucket.take(time.monotonic()):
            raise _Refused(429, "too many requests", retry_after=wait)
        if length > self._settings.max_body:
            raise self._too_large()
        # One scope for both waits, which costs half of two.
        conversions: list[Conversion] | None = None
        with anyio.move_on_after(self._settings.body_within) as timeout:
            events = self._events(await self._body(scope, receive))
            if self._hooks:
                timeout.deadline = inf  # they have a time limit of their own
            conversions = await self._conversions(events)
            timeout.deadline = anyio.current_time() + self._settings.answer_within
            results = await self._store(conversions)
            repeats = sum(result is not Appended.NEW for result in results)
            answer = {"status": "ok", "accepted": len(results) - repeats, "repeats": repeats}
            left_out = len(events) - len(conversions)
            return 200, answer | {"left_out": left_out} if left_out else answer
        if conversions is None:
            raise _Refused(408, "the body did not arrive in time")
        raise _busy()

    # The request

    def _check_request(self, scope: _Scope) -> int:
        """Check the secret; return the announced length of the body."""
        length, token = 0, b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 20 else 0
            elif name == self._header:
                token = value
        front, _, segment = scope["path"].rpartition("/")
        by_header = self._is_secret(token)
        by_path = self._is_secret(segment.encode(errors="replace"))
        if by_path:
            # uvicorn writes its access log from the scope, once the response starts.
            scope["path"] = f"{front}/hidden"
            scope["raw_path"] = scope["path"].encode()
        if not (by_header or by_path):
            raise _Refused(401, "the secret is missing or wrong: it is the last part of the URL")
        return length

    def _is_secret(self, candidate: bytes) -> bool:
        # All are compared, so that the time does not tell which of them is similar.
        results = [compare_digest(candidate, secret) for secret in self._secrets]
        return any(results)

    async def _body(self, scope: _Scope, receive: _Receive) -> bytes:
        limit = self._settings.max_body
        codings = b",".join(value for name, value in scope["headers"] if name == _CODING)
        try:
            return readable_body(await received_body(receive, limit), codings, limit)
        except UnreadableBodyError as exc:
            raise _Refused(415, str(exc)) from None
        except TooLargeBodyError:
            raise self._too_large() from None

    def _too_large(self) -> _Refused:
        return _Refused(413, f"the body has more than {self._settings.max_body:,} bytes")

    def _events(self, body: bytes) -> Sequence[Mapping[str, Any]]:
        try:
            content = parse_json(body)
        except (ValueError, RecursionError):
            raise _Refused(400, "the body is not JSON") from None
        events = content if isinstance(content, list) else [content]
        if len(events) > self._settings.max_events:
            raise _Refused(413, f"more than {self._settings.max_events:,} events in one body")
        objects = [event for event in events if isinstance(event, dict)]
        if not objects:
            raise _Refused(422, "the body must be a JSON object, or a list of objects")
        event_names = self._settings.events
        if event_names is None:
            return objects
        return [event for event in objects if event.get("eventName") in event_names]

    # Conversions

    async def _conversions(self, events: Sequence[Mapping[str, Any]]) -> list[Conversion]:
        """Return the conversions of *events*; in a list of several, invalid events are left out.

        Refusing the whole list would lose its other conversions: AnyTrack does not send them again.
        """
        conversions: list[Conversion] = []
        refusal: _Refused | None = None
        for event in events:
            try:
                conversions.append(await self._conversion(event))
            except _Refused as exc:
                refusal = refusal or exc
        if refusal is not None and not conversions:
            raise refusal
        return conversions

    async def _conversion(self, event: Mapping[str, Any]) -> Conversion:
        try:
            conversion = to_conversion(event, currency=self._settings.currency)
        except InvalidConversionError as exc:
            raise _Refused(422, str(exc)) from None
        except Exception as exc:  # unforeseen input must not be a 500
            logger.error("webhook: an event cannot be read: %s", safe_description(exc))
            raise _Refused(422, "the event cannot be read") from None
        if not self._hooks:
            return conversion
        hook = self._hooks[0]
        with anyio.move_on_after(self._settings.hook_within) as timeout:
            for hook in self._hooks:
                conversion = await self._call(hook, conversion)
        if timeout.cancelled_caught:
            self._log_failure(hook, TimeoutError())
        return conversion

    async def _call(self, hook: ConversionHook, conversion: Conversion) -> Conversion:
        try:
            result = hook(conversion)
            if isawaitable(result):
                result = await result
        except Exception as exc:
            self._log_failure(hook, exc)
            return conversion
        return result if isinstance(result, Conversion) else conversion

    def _log_failure(self, hook: ConversionHook, exc: Exception) -> None:
        key = (id(hook), type(exc))
        if key not in self._failures and len(self._failures) < _MAX_FAILURES:
            self._failures.add(key)
            name = getattr(hook, "__name__", type(hook).__name__)
            template = "webhook: on_conversion hook %s failed with %s (logged once); the conversion"
            logger.error(f"{template} is stored as it was", name, type(exc).__name__)

    async def _store(self, conversions: Sequence[Conversion]) -> Sequence[AppendResult]:
        if not conversions:
            return ()
        try:
            if not self._opened:
                await self._open()
            return await self._client.accept_many(conversions, to=self._to)
        except UnsendableError as exc:
            raise _Refused(422, str(exc)) from None
        except QueueFullError:
            raise _busy() from None
        except ClosedError:
            raise _Refused(503, "shutting down; send it again", retry_after=1) from None
        except Exception as exc:  # the outbox may be third-party code
            logger.error("webhook: not stored: %s", safe_description(exc))
            message = "the outbox cannot store it now; send it again later"
            raise _Refused(503, message, retry_after=_RETRY_AFTER) from None


def _busy() -> _Refused:
    message = "the outbox is full or busy; send it again later"
    return _Refused(503, message, retry_after=_RETRY_AFTER)


def checked_secrets(secret: str | Sequence[str], *, name: str = "secret") -> tuple[bytes, ...]:
    """Return one or several secrets of a webhook's URL; messages call them *name*.

    Raises:
        ConfigurationError: there is none, or one is too short or not possible in a URL.
    """
    secrets = (secret,) if isinstance(secret, str) else tuple(secret)
    for item in secrets:
        check_header_value(name, item)
        if len(item) < _SHORTEST_SECRET or "/" in item:
            raise ConfigurationError(
                f"{name} needs {_SHORTEST_SECRET} characters or more, without a slash, e.g. of "
                "secrets.token_urlsafe()"
            )
    if not secrets:
        raise ConfigurationError(f"{name} must not be empty")
    return tuple(item.encode() for item in secrets)


def _checked_destinations(client: AnyTrackClient, to: Sequence[str] | None) -> tuple[str, ...]:
    destinations = tuple(client.limits)
    if to is not None:
        names = checked_names("to", to, destinations)
    else:
        names = tuple(name for name in destinations if name != ANYTRACK)
    if not names:
        raise ConfigurationError(
            "webhooks come from AnyTrack and are not sent back there: give the client another "
            'destination, or pass to=["anytrack"]'
        )
    return names
