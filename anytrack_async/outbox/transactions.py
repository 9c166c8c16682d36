"""Transactions of a caller: recognising the object, and executing a statement through it.

A statement always goes through the object itself. A connection below it may not be in its
transaction: the asyncpg connection of an `AsyncSession` has none until SQLAlchemy has executed a
statement.

The libraries are recognised by the names of their classes and never imported. If a caller has such
an object, its library is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.outbox.capabilities import ParameterStyle

Statement: TypeAlias = Callable[[ParameterStyle], tuple[str, Sequence[object]]]
"""Returns a statement and its parameters for a style of parameters."""

_IDLE = 0
"""psycopg's transaction status of a connection that has no transaction."""


class Executes(Protocol):
    """A session or a connection: of SQLAlchemy, asyncpg or psycopg."""

    @property
    def execute(self) -> Callable[..., Any]:
        """Executes a statement."""
        ...


class HasCursors(Protocol):
    """A connection of Django, ``django.db.connection``."""

    @property
    def cursor(self) -> Callable[..., Any]:
        """Returns a cursor."""
        ...


async def execute_within(transaction: Any, statement: Statement) -> Sequence[Any]:
    """Execute *statement*, which returns one row, in *transaction*; return the row.

    Args:
        transaction: SQLAlchemy's `AsyncSession` or `AsyncConnection`, asyncpg's `Connection`, also
            one of a pool, or psycopg's `AsyncConnection`.
        statement: the statement.

    Raises:
        InvalidArgumentError: *transaction* is something else, or has no transaction; nothing was
            executed.
        Exception: any exception of *transaction*; SQLAlchemy's do not show the parameters.
    """
    for kind, execute in _ASYNC.items():
        if _is(transaction, *kind):
            row: Sequence[Any] = await execute(transaction, statement)
            return row
    if any(_is(transaction, *kind) for kind in _SYNC):
        raise _refusal(
            f"must be an asynchronous session or connection here, got {_name(transaction)}; with "
            "a synchronous one use AnyTrack instead of AnyTrackClient"
        )
    raise _refusal(
        "must be a session or connection of SQLAlchemy (AsyncSession, AsyncConnection), asyncpg or "
        f"psycopg (AsyncConnection), got {_name(transaction)}; for others, execute what "
        "append_statement of the outbox returns"
    )


def execute_within_sync(transaction: Any, statement: Statement) -> Sequence[Any]:
    """Do the same as `execute_within` in a thread without an event loop.

    Args:
        transaction: SQLAlchemy's `Session` or `Connection`, psycopg's `Connection`, or Django's
            ``django.db.connection``.
        statement: the statement.
    """
    for kind, execute in _SYNC.items():
        if _is(transaction, *kind):
            row: Sequence[Any] = execute(transaction, statement)
            return row
    raise _refusal(
        "must be a session or connection of SQLAlchemy (Session, Connection), psycopg (Connection) "
        f"or Django, got {_name(transaction)}; for others, execute what append_statement of the "
        "outbox returns"
    )


def _is(transaction: object, library: str, *names: str) -> bool:
    """Return whether *transaction* is of a class of *library*, or of a subclass of one."""
    return any(
        cls.__name__ in names and cls.__module__.partition(".")[0] == library
        for cls in type(transaction).__mro__
    )


def _name(transaction: object) -> str:
    cls = type(transaction)
    return f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def _refusal(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError("within", problem)


def _has_no_transaction(how: str) -> InvalidArgumentError:
    return _refusal(f"has no transaction, so nothing could be rolled back: {how}")


def _other_database(name: str) -> InvalidArgumentError:
    return _refusal(f"is a connection to {name}, but the outbox is in PostgreSQL")


# SQLAlchemy


async def _in_async_session(session: Any, statement: Statement) -> Any:
    # Begins the session's transaction if this is its first statement.
    return await _in_async_connection(await session.connection(), statement)


async def _in_async_connection(connection: Any, statement: Statement) -> Any:
    sql, parameters = statement(_style_of(connection.sync_connection))
    try:
        result = await connection.exec_driver_sql(sql, tuple(parameters))
    except Exception as exc:
        _hide_parameters(exc)
        raise
    return result.one()


def _in_session(session: Any, statement: Statement) -> Any:
    return _in_connection(session.connection(), statement)


def _in_connection(connection: Any, statement: Statement) -> Any:
    sql, parameters = statement(_style_of(connection))
    try:
        return connection.exec_driver_sql(sql, tuple(parameters)).one()
    except Exception as exc:
        _hide_parameters(exc)
        raise


def _style_of(connection: Any) -> ParameterStyle:
    """Return the style of SQLAlchemy's synchronous *connection*, after checking its database."""
    if connection.dialect.name != "postgresql":
        raise _refusal(
            f"is a connection to {connection.dialect.name}, but the outbox is in PostgreSQL"
        )
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise _has_no_transaction("its isolation level is AUTOCOMMIT; use another engine for it")
    return "numeric_dollar" if connection.dialect.paramstyle == "numeric_dollar" else "format"


def _hide_parameters(exc: Exception) -> None:
    # Its message would have the conversions, with their customers.
    if hasattr(exc, "hide_parameters"):
        exc.hide_parameters = True


# asyncpg and psycopg


async def _in_asyncpg(connection: Any, statement: Statement) -> Any:
    if not connection.is_in_transaction():
        raise _has_no_transaction("call it inside `async with connection.transaction():`")
    sql, parameters = statement("numeric_dollar")
    return await connection.fetchrow(sql, *parameters)


async def _in_async_psycopg(connection: Any, statement: Statement) -> Any:
    _check_psycopg(connection, "async with")
    async with connection.cursor(row_factory=sys.modules["psycopg"].rows.tuple_row) as cursor:
        await cursor.execute(*statement("format"))
        return await cursor.fetchone()


def _in_psycopg(connection: Any, statement: Statement) -> Any:
    _check_psycopg(connection, "with")
    with connection.cursor(row_factory=sys.modules["psycopg"].rows.tuple_row) as cursor:
        cursor.execute(*statement("format"))
        return cursor.fetchone()


def _check_psycopg(connection: Any, keyword: str) -> None:
    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise _has_no_transaction(
            f"it is in autocommit mode; call it inside `{keyword} connection.transaction():`"
        )


# Django


def _in_django(connection: Any, statement: Statement) -> Any:
    if connection.vendor != "postgresql":
        raise _other_database(connection.vendor)
    if not connection.in_atomic_block and connection.get_autocommit():
        raise _has_no_transaction("call it inside `with transaction.atomic():`")
    with connection.cursor() as cursor:
        cursor.execute(*statement("format"))
        return cursor.fetchone()


_ASYNC: dict[tuple[str, ...], Callable[[Any, Statement], Awaitable[Any]]] = {
    ("sqlalchemy", "AsyncSession", "async_scoped_session"): _in_async_session,
    ("sqlalchemy", "AsyncConnection"): _in_async_connection,
    ("asyncpg", "Connection", "PoolConnectionProxy"): _in_asyncpg,
    ("psycopg", "AsyncConnection"): _in_async_psycopg,
}

_SYNC: dict[tuple[str, ...], Callable[[Any, Statement], Any]] = {
    ("sqlalchemy", "Session", "scoped_session"): _in_session,
    ("sqlalchemy", "Connection"): _in_connection,
    ("psycopg", "Connection"): _in_psycopg,
    ("django", "ConnectionProxy", "BaseDatabaseWrapper"): _in_django,
}
