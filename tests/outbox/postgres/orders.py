"""A program with orders in the outbox's database, for each kind of connection it may have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import asyncpg
import attrs
import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from anytrack_async.testing.outbox_rules.base import sale


@attrs.frozen
class Program:
    """A program that has a transaction.

    Attributes:
        within: what it passes to `submit`.
        insert: inserts an order.
        end: ends the transaction: commits if its argument is true.
    """

    within: Any
    insert: Callable[[int], Awaitable[Any]]
    end: Callable[[bool], Awaitable[Any]]


def _insert(schema: str, parameter: str) -> str:
    return f"INSERT INTO {schema}.orders VALUES ({parameter})"


def _program(connection: Any, transaction: Any, schema: str) -> Program:
    sql = _insert(schema, "$1" if transaction is not connection else "%s")

    def insert(number: int) -> Awaitable[Any]:
        return connection.execute(sql, *([number] if transaction is not connection else [[number]]))

    def end(commits: bool) -> Awaitable[Any]:
        return transaction.commit() if commits else transaction.rollback()

    return Program(connection, insert, end)


@asynccontextmanager
async def _asyncpg(dsn: str, schema: str) -> AsyncIterator[Program]:
    connection = await asyncpg.connect(dsn, command_timeout=10)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield _program(connection, transaction, schema)
    finally:
        await connection.close()


@asynccontextmanager
async def _pool(dsn: str, schema: str) -> AsyncIterator[Program]:
    async with asyncpg.create_pool(dsn, min_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield _program(connection, transaction, schema)


@asynccontextmanager
async def _psycopg(dsn: str, schema: str) -> AsyncIterator[Program]:
    options = {"row_factory": psycopg.rows.dict_row}
    async with await psycopg.AsyncConnection.connect(dsn, **options) as connection:
        yield _program(connection, connection, schema)


@asynccontextmanager
async def _alchemy(dsn: str, schema: str, driver: str, *, session: bool) -> AsyncIterator[Program]:
    engine = create_async_engine(dsn.replace("postgresql:", f"postgresql+{driver}:"))
    sql = text(_insert(schema, ":n"))
    async with AsyncSession(engine) if session else engine.connect() as transaction:

        def insert(number: int) -> Awaitable[Any]:
            return transaction.execute(sql, {"n": number})

        def end(commits: bool) -> Awaitable[Any]:
            return transaction.commit() if commits else transaction.rollback()

        yield Program(transaction, insert, end)
    await engine.dispose()


PROGRAMS = {
    "asyncpg": _asyncpg,
    "pool of asyncpg": _pool,
    "psycopg": _psycopg,
    "AsyncSession, asyncpg": partial(_alchemy, driver="asyncpg", session=True),
    "AsyncConnection, asyncpg": partial(_alchemy, driver="asyncpg", session=False),
    "AsyncSession, psycopg": partial(_alchemy, driver="psycopg", session=True),
}


async def sell(program: Program, outbox: Any, number: int, *, first: str) -> None:
    """Insert an order and append its conversion; *first* says which comes first."""
    if first == "order":
        await program.insert(number)
    await outbox.append_within(program.within, [sale(number)])
    if first == "conversion":
        await program.insert(number)


# Without an event loop


@contextmanager
def _sync_psycopg(dsn: str, schema: str) -> Iterator[Any]:
    with psycopg.connect(dsn) as connection:
        yield connection, lambda n: connection.execute(_insert(schema, "%s"), [n])


@contextmanager
def _sync_alchemy(dsn: str, schema: str) -> Iterator[Any]:
    engine = create_engine(dsn.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with Session(engine) as session, session.begin():
            yield session, lambda n: session.execute(text(_insert(schema, ":n")), {"n": n})
    finally:
        engine.dispose()


@contextmanager
def _django(dsn: str, schema: str) -> Iterator[Any]:
    import django
    from django.conf import settings
    from django.db import ConnectionHandler

    if not settings.configured:
        settings.configure()
    django.setup()
    address = psycopg.conninfo.conninfo_to_dict(dsn)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": address["dbname"],
        "USER": address["user"],
        "HOST": address["host"],
        "PORT": address.get("port", ""),
    }
    connection = ConnectionHandler({"default": database})["default"]

    def insert(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_insert(schema, "%s"), [number])

    try:
        connection.set_autocommit(False)
        yield connection, insert
        connection.commit()
    finally:
        connection.close()


SYNC_PROGRAMS = {"psycopg": _sync_psycopg, "Session": _sync_alchemy, "Django": _django}
