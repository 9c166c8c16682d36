"""Connections to NATS, and several requests at once over one of them.

nats-py makes a future, a subscription entry and a timer for each request. `Replies` sends a whole
batch of them to one inbox and waits for all replies together: a third of the time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from anytrack_async.descriptions import safe_description
from anytrack_async.errors import ConfigurationError, FeedError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

EXTRA = "NATS needs nats-py: pip install 'anytrack_async[nats]'"

REPLIES_WITHIN = 5.0
"""Seconds in which a server has to reply."""


@asynccontextmanager
async def connected(server: str | Sequence[str] | Client, **options: Any) -> AsyncGenerator[Client]:
    """Connect to *server*; a connection that is open already is used, and left open.

    Raises:
        ConfigurationError: nats-py is not installed.
        FeedError: no server can be reached, or it does not accept the credentials.
    """
    try:
        import nats
    except ImportError:
        raise ConfigurationError(EXTRA) from None
    if not isinstance(server, str | list | tuple):
        yield server  # type: ignore[misc]
        return
    settings = {"max_reconnect_attempts": -1, "error_cb": _ignore, "name": "anytrack_async"}
    with as_feed_errors("cannot connect to NATS"):
        with anyio.fail_after(REPLIES_WITHIN):
            client = await nats.connect(
                server if isinstance(server, str) else list(server),
                **({"allow_reconnect": True} | settings | options),
            )
    try:
        yield client
    finally:
        with anyio.move_on_after(REPLIES_WITHIN, shield=True):
            await client.close()


async def _ignore(error: Exception) -> None:
    """Take a failure of the connection; the call that needs it raises."""


@contextmanager
def as_feed_errors(action: str) -> Iterator[None]:
    """Raise `FeedError` instead of the errors of nats-py and of time-outs."""
    from nats.errors import Error

    try:
        yield
    except TimeoutError:  # also nats-py's
        raise FeedError(f"{action}: no answer in time") from None
    except Error as exc:  # the server's own words
        raise FeedError(f"{action}: {getattr(exc, 'description', None) or exc}") from None
    except OSError as exc:
        raise FeedError(f"{action}: {safe_description(exc)}") from None


class Request(NamedTuple):
    """A message to the server, to which it replies, unless `is_replied` is false."""

    subject: str
    payload: bytes = b""
    headers: dict[str, str] | None = None
    is_replied: bool = True


class Replies:
    """Sends requests and takes their replies, through one inbox."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._numbers = 0
        self._replies: dict[str, Msg] = {}
        self._awaited: set[str] = set()
        self._complete = anyio.Event()
        self._lock = anyio.Lock()

    async def exchange(
        self, requests: Sequence[Request], timeout: float = REPLIES_WITHIN
    ) -> list[Msg | None]:
        """Send *requests*, and return their replies in order; None for each that has not come.

        Raises:
            FeedError: the connection is closed.
        """
        async with self._lock:
            with as_feed_errors("NATS"):
                return await self._exchange(requests, timeout)

    async def _exchange(self, requests: Sequence[Request], timeout: float) -> list[Msg | None]:
        if not requests:
            return []
        if self._subscription is None:
            self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._take)
        first, self._numbers = self._numbers, self._numbers + len(requests)
        subjects = [f"{self._inbox}.{first + index}" for index in range(len(requests))]
        self._replies, self._complete = {}, anyio.Event()
        self._awaited = {
            subject
            for request, subject in zip(requests, subjects, strict=True)
            if request.is_replied
        }
        for request, subject in zip(requests, subjects, strict=True):
            reply = subject if request.is_replied else ""
            await self._client.publish(request.subject, request.payload, reply, request.headers)
        with anyio.move_on_after(timeout):
            await self._complete.wait()
        return [self._replies.get(subject) for subject in subjects]

    async def send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send *messages* without replies: subject and content; the server has them afterwards.

        Raises:
            FeedError: the connection is closed or interrupted.
        """
        with as_feed_errors("NATS"):
            for subject, payload in messages:
                await self._client.publish(subject, payload)
            await self._client.flush(int(REPLIES_WITHIN))

    async def _take(self, message: Msg) -> None:
        if message.subject in self._awaited:  # and no late reply to an earlier request
            self._awaited.discard(message.subject)
            self._replies[message.subject] = message
            if not self._awaited:
                self._complete.set()

    async def aclose(self) -> None:
        """Stop taking replies."""
        if self._subscription is not None and not self._client.is_closed:
            with suppress(FeedError), as_feed_errors("NATS"):
                await self._subscription.unsubscribe()
