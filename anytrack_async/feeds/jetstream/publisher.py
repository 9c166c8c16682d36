"""`JetStreamPublisher`: puts conversions into a stream, from services that have no database."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

import anyio
from anyio import to_thread

from anytrack_async.descriptions import safe_description
from anytrack_async.errors import ConfigurationError, FeedError
from anytrack_async.events import logger
from anytrack_async.feeds.jetstream.connection import Replies, Request, as_feed_errors, connected
from anytrack_async.models.conversion import Conversion

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

_AT_ONCE = 500
"""Messages published before their acknowledgements are awaited; an atomic batch has at most
1,000."""

_REPEAT_IN_BATCH = 10201
"""JetStream's error code: an atomic batch has a message id that the stream knows."""

_ID = "Nats-Msg-Id"


class JetStreamPublisher:
    """Publishes conversions to a stream of NATS JetStream, for a `JetStreamFeed` elsewhere.

        async with JetStreamPublisher("nats://…", subject="conversions") as publisher:
            await publisher.publish(conversion)

    The message's id is the event id, so that the stream drops a repeat of the last two minutes (its
    ``duplicate_window``); the outbox recognises all others.

    An acknowledged conversion is in the stream. But by default, a NATS server writes to the disk
    only every two minutes, and loses the messages acknowledged since then if its machine loses
    power. The publisher logs a warning unless it knows that the server syncs each message.

    Args:
        server: ``nats://host:port``, several of them, or a connection of nats-py, which is left
            open.
        subject: the subject to publish to; a stream has to have it.
        monitoring: URL of the server's monitoring port, such as ``http://host:8222``, where the
            publisher can read whether it syncs.
        assume_synced: log no warning, because you know.
        options: arguments for ``nats.connect``, such as ``user_credentials`` or ``tls``.

    Raises:
        ConfigurationError: on opening, nats-py is not installed.
        FeedError: on opening, the server cannot be reached.
    """

    def __init__(
        self,
        server: str | Sequence[str] | Client,
        *,
        subject: str = "conversions",
        monitoring: str | None = None,
        assume_synced: bool = False,
        **options: Any,
    ) -> None:
        self._server = server
        self._subject = subject
        self._monitoring = monitoring
        self._assume_synced = assume_synced
        self._options = options
        self._atomic = False
        self._replies: Replies | None = None
        self._resources = AsyncExitStack()

    def __repr__(self) -> str:
        return f"JetStreamPublisher(subject={self._subject!r})"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connected(self._server, **self._options))
            self._replies = Replies(client)
            stack.push_async_callback(self._replies.aclose)
            self._atomic = await self._takes_batches(client)
            if not self._assume_synced:
                await warn_if_not_synced(client, self._monitoring)
            self._resources = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._resources.aclose()

    def _open_replies(self) -> Replies:
        if self._replies is None:
            raise FeedError(f"{self!r} is not open: use it with `async with … as publisher:`")
        return self._replies

    async def _takes_batches(self, client: Client) -> bool:
        """Whether the stream takes atomic batches: a server from 2.12 on, and ``allow_atomic``."""
        jetstream = client.jetstream(timeout=5)
        try:
            with as_feed_errors("NATS"):
                name = await jetstream.find_stream_name_by_subject(self._subject)
                return bool((await jetstream.stream_info(name)).config.allow_atomic)
        except FeedError:  # perhaps without the right to ask
            return False

    async def publish(self, conversion: Conversion) -> None:
        """Publish *conversion*; it is in the stream when this returns. See `publish_many`."""
        await self.publish_many((conversion,))

    async def publish_many(self, conversions: Iterable[Conversion]) -> None:
        """Publish *conversions*; all are in the stream when this returns.

        With a server from version 2.12 on and ``allow_atomic`` on the stream, each 500 of them are
        in the stream together or not at all.

        Raises:
            FeedError: the stream has not acknowledged all of them. Publishing them again is safe.
        """
        requests = [self._request(conversion) for conversion in conversions]
        for start in range(0, len(requests), _AT_ONCE):
            part = requests[start : start + _AT_ONCE]
            if self._atomic and len(part) > 1 and await self._publish_batch(part):
                continue
            self._check(await self._open_replies().exchange(part))

    def _request(self, conversion: Conversion) -> Request:
        payload = conversion.to_json().encode()
        return Request(self._subject, payload, {_ID: conversion.event_id})

    async def _publish_batch(self, requests: Sequence[Request]) -> bool:
        """Publish *requests* as an atomic batch; False if one of them is a repeat."""
        batch = secrets.token_hex(16)
        last = len(requests) - 1
        numbered = [
            request._replace(
                headers=(request.headers or {})
                | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(index + 1)}
                | ({"Nats-Batch-Commit": "1"} if index == last else {}),
                is_replied=index == last,
            )
            for index, request in enumerate(requests)
        ]
        (reply,) = (await self._open_replies().exchange(numbered))[-1:]
        if _error(reply).get("err_code") == _REPEAT_IN_BATCH:
            return False
        self._check([reply])
        return True

    def _check(self, replies: Sequence[Msg | None]) -> None:
        problems = [problem for reply in replies if (problem := _problem(reply))]
        if problems:
            raise FeedError(
                f"{self._subject}: {len(problems)} of {len(replies)} messages were not "
                f"acknowledged: {problems[0]}; publish them again"
            )


def _error(reply: Msg | None) -> dict[str, Any]:
    """Return the error in an acknowledgement; empty if there is none."""
    try:
        answer = json.loads(reply.data) if reply is not None else {}
    except ValueError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}


def _problem(reply: Msg | None) -> str | None:
    """Return why a message is not in the stream; None if it is."""
    if reply is None:
        return "no answer in time"
    if (reply.headers or {}).get("Status") == "503" or not reply.data:
        return "no stream has this subject, or JetStream is not ready"
    if error := _error(reply):
        return str(error.get("description", "refused"))
    return None


# Whether a NATS server has a message on its disk when it acknowledges the message.
#
# By default it syncs every two minutes, so that a power cut takes acknowledged messages with it
# (https://github.com/nats-io/nats-server/issues/7564). ``sync_interval: always`` changes that, from
# version 2.10 on. A server tells that only on its monitoring port, not to its clients.

_TIMEOUT = 5.0  # seconds
_ADVICE = (
    "set `sync_interval: always` in its jetstream section, or accept that the loss of its power "
    "loses acknowledged conversions"
)


async def warn_if_not_synced(client: Client, monitoring: str | None) -> None:
    """Log a warning unless the server of *client* is known to sync each message.

    Args:
        client: an open connection.
        monitoring: URL of the server's monitoring port, if it may be asked.

    Raises:
        ConfigurationError: *monitoring* is no URL.
    """
    version = client.connected_server_version
    if (version.major, version.minor) < (2, 10):
        logger.warning(
            "NATS %d.%d cannot sync each message before it acknowledges it: upgrade to 2.12, or "
            "accept that the loss of its power loses acknowledged conversions",
            version.major,
            version.minor,
        )
    elif monitoring is None:
        logger.warning(
            "NATS may acknowledge conversions before they are on its disk: %s; "
            "JetStreamPublisher(monitoring='http://host:8222') checks it, and assume_synced=True "
            "turns this warning off",
            _ADVICE,
        )
    elif not _syncs_always(await _settings(monitoring)):
        logger.warning("NATS acknowledges conversions before they are on its disk: %s", _ADVICE)


async def _settings(monitoring: str) -> dict[str, Any]:
    """Return the settings of JetStream; none if the server does not answer."""
    if not monitoring.startswith(("http://", "https://")):
        raise ConfigurationError("monitoring must be a URL such as http://host:8222")
    try:
        with anyio.fail_after(_TIMEOUT):
            answer = await to_thread.run_sync(_read, monitoring, abandon_on_cancel=True)
        settings = json.loads(answer).get("config")
    except (OSError, ValueError, AttributeError) as exc:  # also a time-out
        logger.warning("NATS's monitoring port gives no answer: %s", safe_description(exc))
        return {}
    return settings if isinstance(settings, dict) else {}


def _read(monitoring: str) -> bytes:
    with urlopen(f"{monitoring.rstrip('/')}/jsz", timeout=_TIMEOUT) as answer:  # noqa: S310
        return bytes(answer.read(2**20))


def _syncs_always(settings: dict[str, Any]) -> bool:
    return bool(settings.get("sync_always"))
