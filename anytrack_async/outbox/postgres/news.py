"""`PostgresNews`: notices between processes, so that lanes need not wait for their next poll.

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
"""Seconds after an append in a transaction of the caller's at which others are told: its commit is
not seen here, and is usually soon."""

_STEP = 0.02
"""Seconds between the moments at which this is told, at least."""

_PROBE_EVERY = 30.0
"""Seconds between probes: notices to oneself, which show that the connection still hears."""

_HEARD_WITHIN = 5.0
"""Seconds in which a probe must be heard."""

_RECONNECT = (0.1, 10.0)
"""Seconds until the first try to connect again, and at most; doubled each time."""

_DEAF_FOR = 300.0
"""Seconds until an address that hears nothing is tried again."""

_PROBE = "probe"


class News:
    """Sends and hears notices.

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
        self._told: set[str] = set()

    def announce(self) -> None:
        """Tell other processes soon that something was appended."""
        if self._pending is not None:
            self._pending.set()

    def announce_joined(self) -> None:
        """Tell everybody, this process too, that something will perhaps be committed soon."""
        if self._joined is not None:
            now = time.monotonic()
            # In steps, so that a thousand appends a second make fifty notices.
            self._moments |= {ceil((now + delay) / _STEP) for delay in _AFTER_JOINING}
            self._joined.set()

    async def run(self, wake: Callable[[str | None], None]) -> None:
        """Send notices, and call *wake* when one is heard, until cancelled."""
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
            self._tell("send", "cannot tell other processes about new conversions: %s", exc)
            return False
        self._told.discard("send")
        return True

    # Hearing

    async def _listen(self, address: str, wake: Callable[[str | None], None]) -> None:
        pause = _RECONNECT[0]
        while True:
            try:
                async with self._listening(address, wake) as ears:
                    wake(None)  # notices may have been missed while there was no connection
                    pause = _RECONNECT[0]
                    await self._stay(ears)
            except _DeafError:
                self._tell_deaf()
                pause = _DEAF_FOR
            except Exception as exc:
                self._tell("listen", "cannot listen for new conversions: %s", describe(exc))
            await anyio.sleep(pause)
            pause = min(2 * pause, _RECONNECT[1])

    @asynccontextmanager
    async def _listening(
        self, address: str, wake: Callable[[str | None], None]
    ) -> AsyncIterator[_Ears]:
        ears = _Ears()

        def hear(_: object, __: int, ___: str, sender: object) -> None:
            if sender == f"{_PROBE} {self._owner}":
                ears.heard.set()
            elif sender != self._owner and not str(sender).startswith(_PROBE):
                wake(None)

        connection = await self._connect(address)
        try:
            connection.add_termination_listener(lambda _: ears.lost.set())
            await connection.add_listener(self._channel, hear)
            yield ears
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
                await connection.close(timeout=1.0)

    async def _connect(self, address: str) -> asyncpg.Connection[Any]:
        connection: asyncpg.Connection[Any] = await load_asyncpg().connect(
            address, timeout=_HEARD_WITHIN, command_timeout=_HEARD_WITHIN, statement_cache_size=0
        )
        return connection

    async def _stay(self, ears: _Ears) -> None:
        """Return when the connection is lost; probe it meanwhile.

        Raises:
            _DeafError: it has never heard a probe.
        """
        has_heard = False
        while True:
            ears.heard.clear()
            sent = await self._notify(f"{_PROBE} {self._owner}")
            with anyio.move_on_after(_HEARD_WITHIN):
                await _first_of(ears.heard, ears.lost)
            if ears.heard.is_set():
                has_heard = True
                self._told -= {"listen", "deaf"}
            elif ears.lost.is_set():
                return
            elif sent:
                if has_heard:
                    return  # e.g. a firewall has forgotten the connection
                raise _DeafError
            with anyio.move_on_after(_PROBE_EVERY):
                await ears.lost.wait()
                return

    # Saying it once

    def _tell_deaf(self) -> None:
        self._tell(
            "deaf",
            "notices of PostgreSQL do not arrive, so conversions of other processes wait for the "
            "next poll: %s",
            "perhaps the address is that of a pooler in transaction mode, such as PgBouncer; name "
            "the server itself as listen_dsn (ANYTRACK_OUTBOX_LISTEN)",
        )

    def _tell(self, key: str, message: str, reason: object) -> None:
        """Log a warning, unless it was logged since this last worked."""
        if key not in self._told:
            self._told.add(key)
            logger.warning(message, reason)


class _DeafError(Exception):
    """A connection hears no notices."""


class _Ears:
    """The signals of a listening connection.

    Attributes:
        heard: set by a probe that arrives.
        lost: set when the connection is lost.
    """

    def __init__(self) -> None:
        self.heard, self.lost = asyncio.Event(), asyncio.Event()


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
