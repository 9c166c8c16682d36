"""`News`: notices between processes, so that lanes need not wait for their next poll.

    process A   append … commit ─▶ at most every 10 ms: NOTIFY on a connection of its own
    process B   LISTEN on one connection ─▶ wakes its lanes

Nothing depends on notices: lanes poll. They are never sent in the transaction that appends, where
they would make all commits of the server wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import ceil, inf
from typing import TYPE_CHECKING, Any

import anyio

from anytrack_async.errors import ConfigurationError, OutboxError
from anytrack_async.events import logger
from anytrack_async.outbox.postgres import queries
from anytrack_async.outbox.postgres.database import Database, check_address, load_asyncpg
from anytrack_async.outbox.postgres.errors import describe

if TYPE_CHECKING:
    import asyncpg

NOTICE_EVERY = 0.01
"""Seconds between two notices of one process, at least."""

_AFTER_JOINING = (0.02, 0.1, 0.5)
"""Seconds after an append in a transaction of the caller's at which notices are sent. This process
does not see when the caller commits, which is usually soon."""

_STEP = 0.02
"""Seconds between two of these notices, at least."""

_PROBE_EVERY = 30.0
"""Seconds between probes: notices to this process itself, which show that notices still arrive."""

_PROBE_TIMEOUT = 5.0
"""Seconds in which a probe must arrive."""

_RECONNECT = (0.1, 10.0)
"""Seconds until the first try to connect again, and at most; doubled each time."""

_RETRY_WITHOUT_NOTICES = 300.0
"""Seconds until an address at which no notice arrives is tried again."""

_PROBE = "probe"


class News:
    """Sends and receives notices.

    Args:
        db: the database; sends the notices.
        address: the address to listen at; None for none.
        owner: a number that no other outbox object has.
    """

    def __init__(self, db: Database, address: str | None, owner: int) -> None:
        self._db = db
        self._address = address
        self._owner = str(owner)
        self._channel = f"anytrack_{db.schema}"[:63]
        self._pending: asyncio.Event | None = None  # of the event loop in which it runs
        self._joined: asyncio.Event | None = None
        self._moments: set[int] = set()
        self._warned: set[str] = set()

    def announce(self) -> None:
        """Tell other processes soon that something was appended."""
        if self._pending is not None:
            self._pending.set()

    def announce_joined(self) -> None:
        """Tell all processes, this one too, that something will perhaps be committed soon."""
        if self._joined is not None:
            now = time.monotonic()
            # In steps, so that a thousand appends a second make fifty notices.
            self._moments |= {ceil((now + delay) / _STEP) for delay in _AFTER_JOINING}
            self._joined.set()

    async def run(self, wake: Callable[[str | None], None]) -> None:
        """Send notices, and call *wake* when one arrives, until cancelled."""
        self._pending, self._joined = asyncio.Event(), asyncio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send, self._pending)
            tasks.start_soon(self._send_joined, self._joined)
            if self._address is not None:
                tasks.start_soon(self._listen, self._address, wake)

    # Sending

    async def _send(self, pending: asyncio.Event) -> None:
        while True:
            await pending.wait()
            pending.clear()
            await self._notify(self._owner)
            await anyio.sleep(NOTICE_EVERY)

    async def _send_joined(self, joined: asyncio.Event) -> None:
        while True:
            first = min(self._moments, default=inf)
            with anyio.move_on_after(max(0.0, first * _STEP - time.monotonic())):
                await joined.wait()
                joined.clear()
                continue
            self._moments -= {moment for moment in self._moments if moment <= first}
            await self._notify("")

    async def _notify(self, sender: str) -> bool:
        try:
            await self._db.fetch(queries.NOTIFY, self._channel, sender)
        except OutboxError as exc:
            self._warn_once("send", "cannot tell other processes about new conversions: %s", exc)
            return False
        self._warned.discard("send")
        return True

    # Receiving

    async def _listen(self, address: str, wake: Callable[[str | None], None]) -> None:
        pause = _RECONNECT[0]
        while True:
            try:
                async with self._listening(address, wake) as signals:
                    wake(None)  # notices may have been missed while there was no connection
                    pause = _RECONNECT[0]
                    await self._watch_connection(signals)
            except _NoNoticesError:
                self._warn_of_no_notices()
                pause = _RETRY_WITHOUT_NOTICES
            except Exception as exc:
                self._warn_once("listen", "cannot listen for new conversions: %s", describe(exc))
            await anyio.sleep(pause)
            pause = min(2 * pause, _RECONNECT[1])

    @asynccontextmanager
    async def _listening(
        self, address: str, wake: Callable[[str | None], None]
    ) -> AsyncIterator[_Signals]:
        signals = _Signals()

        def receive(_: object, __: int, ___: str, sender: object) -> None:
            if sender == f"{_PROBE} {self._owner}":
                signals.probe_arrived.set()
            elif sender != self._owner and not str(sender).startswith(_PROBE):
                wake(None)

        connection = await self._connect(address)
        try:
            connection.add_termination_listener(lambda _: signals.lost.set())
            await connection.add_listener(self._channel, receive)
            yield signals
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
                await connection.close(timeout=1.0)

    async def _connect(self, address: str) -> asyncpg.Connection[Any]:
        connection: asyncpg.Connection[Any] = await load_asyncpg().connect(
            address, timeout=_PROBE_TIMEOUT, command_timeout=_PROBE_TIMEOUT, statement_cache_size=0
        )
        return connection

    async def _watch_connection(self, signals: _Signals) -> None:
        """Return when the connection is lost; probe it meanwhile.

        Raises:
            _NoNoticesError: no probe has ever arrived.
        """
        has_arrived = False
        while True:
            signals.probe_arrived.clear()
            sent = await self._notify(f"{_PROBE} {self._owner}")
            with anyio.move_on_after(_PROBE_TIMEOUT):
                await _first_of(signals.probe_arrived, signals.lost)
            if signals.probe_arrived.is_set():
                has_arrived = True
                self._warned -= {"listen", "no notices"}
            elif signals.lost.is_set():
                return
            elif sent:
                if has_arrived:
                    return  # e.g. a firewall has forgotten the connection
                raise _NoNoticesError
            with anyio.move_on_after(_PROBE_EVERY):
                await signals.lost.wait()
                return

    # Warnings

    def _warn_of_no_notices(self) -> None:
        self._warn_once(
            "no notices",
            "notices of PostgreSQL do not arrive, so conversions of other processes wait for the "
            "next poll: %s",
            "perhaps the address is that of a pooler in transaction mode, such as PgBouncer; name "
            "the server itself as listen_dsn (ANYTRACK_OUTBOX_LISTEN)",
        )

    def _warn_once(self, key: str, message: str, reason: object) -> None:
        """Log a warning, unless it was logged since notices worked for the last time."""
        if key not in self._warned:
            self._warned.add(key)
            logger.warning(message, reason)


class _NoNoticesError(Exception):
    """No notice arrives on a connection."""


class _Signals:
    """The signals of a listening connection.

    Attributes:
        probe_arrived: set when a probe arrives.
        lost: set when the connection is lost.
    """

    def __init__(self) -> None:
        self.probe_arrived, self.lost = asyncio.Event(), asyncio.Event()


async def _first_of(*events: asyncio.Event) -> None:
    async with anyio.create_task_group() as tasks:

        async def wait(event: asyncio.Event) -> None:
            await event.wait()
            tasks.cancel_scope.cancel()

        for event in events:
            tasks.start_soon(wait, event)


def listen_address(source: object, listen_dsn: object, *, behind_pooler: bool) -> str | None:
    """Return the address to listen at; None if there is none, and lanes only poll.

    Args:
        source: the address of the outbox, or a pool of asyncpg.
        listen_dsn: the address that the user has named for it, if any.
        behind_pooler: whether *source* is the address of a pooler in transaction mode.

    Raises:
        ConfigurationError: *listen_dsn* is no address.
    """
    if listen_dsn is not None and not isinstance(listen_dsn, str):
        kind = type(listen_dsn).__name__
        raise ConfigurationError(f"listen_dsn must be the address of a database, got {kind}")
    if listen_dsn:
        return check_address("listen_dsn", listen_dsn)
    return check_address("dsn", source) if isinstance(source, str) and not behind_pooler else None
