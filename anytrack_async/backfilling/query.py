"""`SqlQuery`: the rows of a query, over any connection of Python's database interface (DB-API)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from anytrack_async.backfilling.blocks import BLOCK_ROWS, Block, Breather
from anytrack_async.backfilling.report import SourceInfo
from anytrack_async.errors import ConfigurationError
from anytrack_async.settings.fields import non_empty


@attrs.frozen(kw_only=True)
class SqlQuery:
    """A query as a source.

    Attributes:
        sql: the query.
        connect: opens the connection, in the thread that reads; it is closed at the end. Or an
            open connection, which stays open; one of `sqlite3` must be made with
            ``check_same_thread=False``.
        parameters: of the query, in the style of the driver.
        name: for messages.
    """

    sql: str = attrs.field(validator=non_empty)
    connect: Any = attrs.field(repr=False)
    parameters: Sequence[Any] = attrs.field(default=(), repr=False)
    name: str = "<query>"


class QueryReader:
    """The rows of a query; a row's line is its number.

    Raises:
        Exception: the driver's, if the query fails.
    """

    def __init__(self, query: SqlQuery) -> None:
        self._is_own = callable(query.connect) and not hasattr(query.connect, "cursor")
        self._connection = query.connect() if self._is_own else query.connect
        self.parameters: dict[str, str] = {}
        self._cursor = _streaming_cursor(self._connection)
        self._cursor.arraysize = BLOCK_ROWS
        if query.parameters:
            self._cursor.execute(query.sql, query.parameters)
        else:
            self._cursor.execute(query.sql)
        # A streaming cursor of PostgreSQL knows its columns after the first rows only.
        self._first = self._cursor.fetchmany(BLOCK_ROWS)
        if self._cursor.description is None:
            raise ConfigurationError(f"{query.name} returns no rows: it must be a SELECT")
        columns = tuple(str(column[0]) for column in self._cursor.description)
        self.info = SourceInfo(name=query.name, format="sql", columns=columns)

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Read the rows once, without the first *skip*."""
        consumed = 0
        breather = Breather()
        columns = tuple(self.info.columns)
        rows = self._first
        while rows:
            start = max(0, skip - consumed)
            consumed += len(rows)
            if part := rows[start:]:
                lines = range(consumed - len(part) + 1, consumed + 1)
                yield Block(
                    columns=columns,
                    rows=[list(row) for row in part],
                    lines=lines,
                    consumed=consumed,
                )
            breather.breathe()
            rows = self._cursor.fetchmany(BLOCK_ROWS)

    def close(self) -> None:
        """Close the cursor, and the connection if it was opened here."""
        self._cursor.close()
        if self._is_own:
            self._connection.close()


def _streaming_cursor(connection: Any) -> Any:
    """Return a cursor that does not load all rows at once.

    The drivers of PostgreSQL do so unless the cursor has a name.
    """
    if type(connection).__module__.partition(".")[0] in ("psycopg", "psycopg2"):
        return connection.cursor(name="anytrack_backfill")
    return connection.cursor()


def connector(url: str) -> Callable[[], Any]:
    """Return a function that opens the database at *url*, for `SqlQuery.connect`.

    Args:
        url: ``sqlite:///orders.db`` (four slashes for an absolute path), or ``postgresql://…``,
            which needs psycopg.

    Raises:
        ConfigurationError: the URL names another kind of database; never quotes the URL, which may
            have a password.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        path = Path(unquote(url.removeprefix("sqlite:///")))
        return lambda: sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    if scheme in ("postgresql", "postgres"):
        return lambda: _connect_postgres(url)
    raise ConfigurationError(
        "database must be sqlite:///path or postgresql://user@host/name; from Python, any "
        "connection of the DB-API will do: SqlQuery(sql=…, connect=connection)"
    )


def is_driver_error(error: Exception) -> bool:
    """Return whether a database driver raised *error*: for a wrong query or a lost connection."""
    classes = type(error).__mro__
    return any(item.__name__ == "Error" and _package(item) in _DRIVERS for item in classes)


_DRIVERS = ("sqlite3", "psycopg")


def _package(item: type) -> str:
    return item.__module__.partition(".")[0]


def _connect_postgres(url: str) -> Any:
    try:
        psycopg: Any = import_module("psycopg")
    except ImportError:
        raise ConfigurationError(
            "reading from PostgreSQL needs psycopg: pip install 'psycopg[binary]'"
        ) from None
    try:
        return psycopg.connect(url)
    except psycopg.Error as exc:
        # Of a URL that cannot be read, the driver quotes parts, such as those of a password.
        problem = str(exc) if isinstance(exc, psycopg.OperationalError) else "the URL is not valid"
        raise ConnectionError(
            f"the database cannot be opened: {_without_password(problem, url)}"
        ) from None


def _without_password(text: str, url: str) -> str:
    password = urlsplit(url).netloc.rpartition("@")[0].partition(":")[2]
    for secret in {password, unquote(password)} - {""}:
        text = text.replace(secret, "***")
    return " ".join(text.split())
