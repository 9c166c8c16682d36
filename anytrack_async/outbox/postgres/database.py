"""Connections to PostgreSQL, and calls of the functions in the database.

Every call is one statement and so one transaction, unless its docstring says otherwise. Each has a
time-out, because a network may lose packets silently; the driver alone would wait for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from anytrack_async.descriptions import database_address, shown_address
from anytrack_async.errors import AnyTrackError, ConfigurationError, OutboxError
from anytrack_async.outbox.checks import not_open_error
from anytrack_async.outbox.postgres.errors import (
    TOO_MANY_CONNECTIONS,
    is_lost,
    outbox_error,
    outcome_unknown_error,
    sqlstate,
)
from anytrack_async.outbox.postgres.schema import check_version, in_schema, migrate

if TYPE_CHECKING:
    import asyncpg

_SETTINGS = """SELECT set_config('jit', 'off', false), set_config('enable_seqscan', 'off', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('application_name', 'anytrack', false)"""
"""Without them, plans made while the tables are small are kept, and compiled again and again."""

_WAITS_FOR_CONNECTION = 5.0
"""Seconds until a call fails because the server, or the role, has too many connections: others may
end theirs, as while a new release of a program replaces the earlier one."""

_LOOKS_FOR_CONNECTION = 0.05


def load_asyncpg() -> Any:
    """Return the module asyncpg.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import asyncpg
    except ImportError:
        raise ConfigurationError(
            "an outbox in PostgreSQL needs asyncpg: pip install 'anytrack_async[postgres]'"
        ) from None
    return asyncpg


def check_address(name: str, text: str) -> str:
    """Return the address in *text*; raise `ConfigurationError`, without it, if there is none."""
    address = database_address(text)
    if address is None:
        raise ConfigurationError(
            f"{name} must begin with postgresql:// or postgres://, and be the address of a database"
        )
    return address


class Database:
    """The connections of an outbox.

    Args:
        source: address of the database (``postgresql://…``), or a pool of asyncpg.
        schema: name of the schema.
        connections: the greatest number of connections.
        timeout: seconds until a call that gets no answer fails.
        behind_pooler: whether the address is that of a pooler that lends connections for the length
            of a transaction.
    """

    def __init__(
        self, source: Any, *, schema: str, connections: int, timeout: float, behind_pooler: bool
    ) -> None:
        self._asyncpg = load_asyncpg()
        self._source = source
        self.schema = schema
        self._connections = connections
        self._timeout = timeout
        self._behind_pooler = behind_pooler
        self._pool: asyncpg.Pool[Any] | None = None
        self._statements: dict[str, str] = {}
        if not isinstance(source, str | self._asyncpg.Pool):
            raise ConfigurationError(
                "dsn must be the address of a database, postgresql://…, or a pool of asyncpg, got "
                f"a value of type {type(source).__name__}"
            )
        if isinstance(source, str):
            self._source = check_address("dsn", source)

    @property
    def place(self) -> str:
        """Where the outbox is, for messages: without user and password."""
        address = shown_address(self._source) if isinstance(self._source, str) else None
        return f"schema {self.schema!r} " + (f"at {address}" if address else "of PostgreSQL")

    @property
    def has_own_sessions(self) -> bool:
        """Whether settings of a connection are this outbox's own and stay."""
        return isinstance(self._source, str) and not self._behind_pooler

    async def open(self, *, migrating: bool, again: bool = False, may_be_old: bool = False) -> None:
        """Connect, and check that the schema is there.

        Args:
            migrating: whether to create the schema, or bring it up to date.
            again: whether to do so although its version is that of this release.
            may_be_old: without *migrating*: whether the schema need not be up to date.

        Raises:
            OutboxError: see `migrate`, or `check_version`.
        """
        try:
            self._pool = await self._connect() if isinstance(self._source, str) else self._source
        except Exception as exc:
            raise self.error(exc) from None
        async with self.connection() as connection:
            if migrating:
                await migrate(connection, self.schema, again=again)
            else:
                await check_version(connection, self.schema, may_be_old=may_be_old)

    async def _connect(self) -> asyncpg.Pool[Any]:
        pool: asyncpg.Pool[Any] = await self._asyncpg.create_pool(
            self._source,
            min_size=0,  # else the pool logs a traceback of its own when the server is restarted
            max_size=self._connections,
            timeout=self._timeout,
            command_timeout=self._timeout,
            statement_cache_size=0 if self._behind_pooler else 100,
            init=_set_up if self.has_own_sessions else None,
            reset=_keep_settings if self.has_own_sessions else None,
        )
        return pool

    async def close(self) -> None:
        """Close the connections, unless the pool is the caller's."""
        pool, self._pool = self._pool, None
        if pool is None or not isinstance(self._source, str):
            return
        try:
            await asyncio.wait_for(pool.close(), self._timeout)
        except Exception:
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """Lend a connection.

        Raises:
            OutboxError: the database failed; the message says what to do.
        """
        try:
            async with self._borrowed() as connection:
                yield connection
        except AnyTrackError:
            raise
        except Exception as exc:
            raise self.error(exc) from None

    def check_open(self) -> None:
        """Raise `OutboxError` unless the database is open."""
        if self._pool is None:
            raise not_open_error()

    def error(self, exc: Exception) -> OutboxError:
        """Return the error to raise instead of *exc*."""
        return outbox_error(exc, self.place)

    def change_error(self, exc: Exception) -> OutboxError:
        """Return the error of a change that failed with *exc*, perhaps after it was done."""
        return outcome_unknown_error(exc, self.place) if is_lost(exc) else self.error(exc)

    def statement(self, sql: str) -> str:
        """Return *sql*, which is written for the schema ``anytrack``, for this one."""
        statement = self._statements.get(sql)
        if statement is None:
            statement = self._statements[sql] = in_schema(sql, self.schema)
        return statement

    async def fetch_raw(self, sql: str, *args: object) -> Sequence[Any]:
        """Run a statement and return its rows; exceptions of the driver are passed on.

        Raises:
            OutboxError: there is no connection; nothing has changed.
        """
        async with self._borrowed() as connection:
            rows: Sequence[Any] = await connection.fetch(
                self.statement(sql), *args, timeout=self._timeout
            )
        return rows

    async def execute_raw(self, sql: str, *args: object) -> str:
        """Do the same as `fetch_raw`, and return the command tag, such as ``INSERT 0 1``."""
        async with self._borrowed() as connection:
            tag: str = await connection.execute(self.statement(sql), *args, timeout=self._timeout)
        return tag

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        if self._pool is None:
            raise not_open_error()
        connection = await self._acquire(self._pool)
        try:
            yield connection
        finally:
            await self._pool.release(connection, timeout=self._timeout)

    async def _acquire(self, pool: asyncpg.Pool[Any]) -> asyncpg.Connection[Any]:
        """Take a connection from the pool, one that is there if the server allows no more."""
        deadline = time.monotonic() + min(self._timeout, _WAITS_FOR_CONNECTION)
        while True:
            try:
                connection: asyncpg.Connection[Any] = await pool.acquire(timeout=self._timeout)
            except Exception as exc:
                if sqlstate(exc) != TOO_MANY_CONNECTIONS or time.monotonic() >= deadline:
                    raise self._acquiring_error(pool, exc) from None
                await anyio.sleep(_LOOKS_FOR_CONNECTION)
            else:
                return connection

    def _acquiring_error(self, pool: asyncpg.Pool[Any], exc: Exception) -> OutboxError:
        if isinstance(exc, TimeoutError) and pool.get_size() >= pool.get_max_size() > 0:
            advice = "let transactions end sooner, or raise "
            advice += "`connections`" if isinstance(self._source, str) else "its max_size"
            return OutboxError(
                f"the outbox in {self.place}: all {pool.get_max_size()} connections of the pool "
                f"were in use for {self._timeout:g} s: {advice}"
            )
        return self.error(exc)

    async def fetch_once(self, sql: str, *args: object) -> Sequence[Any]:
        """Run a statement that must not be run twice, and return its rows.

        Raises:
            OutcomeUnknownError: the connection was lost before the answer came.
            OutboxError: the database failed, and nothing has changed.
        """
        try:
            return await self.fetch_raw(sql, *args)
        except AnyTrackError:
            raise
        except Exception as exc:
            raise self.change_error(exc) from None

    async def fetch(self, sql: str, *args: object) -> Sequence[Any]:
        """Run a statement that may be run twice, and return its rows.

        It is run again once if the connection was lost, for instance because the server was
        restarted since the last call.

        Raises:
            OutboxError: the database failed; the message says what to do.
        """
        try:
            try:
                return await self.fetch_raw(sql, *args)
            except Exception as exc:
                if isinstance(exc, AnyTrackError | TimeoutError) or not is_lost(exc):
                    raise
                return await self.fetch_raw(sql, *args)
        except AnyTrackError:
            raise
        except Exception as exc:
            raise self.error(exc) from None

    async def row(self, sql: str, *args: object) -> Any:
        """Do the same as `fetch`, and return the only row."""
        (row,) = await self.fetch(sql, *args)
        return row

    async def value(self, sql: str, *args: object) -> Any:
        """Do the same as `fetch`, and return the only value."""
        return (await self.row(sql, *args))[0]


async def _set_up(connection: asyncpg.Connection[Any]) -> None:
    await connection.execute(_SETTINGS)


async def _keep_settings(connection: asyncpg.Connection[Any]) -> None:
    """Return a connection to the pool as it is: no call leaves anything to reset."""
