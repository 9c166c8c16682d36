"""The errors that are raised when PostgreSQL fails, and their messages.

The details of the server's messages may quote values of a row, and messages of the driver may quote
the address with its password. So a message here contains the main sentence of the server and what
to do, and nothing else; the original exception is not attached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from anytrack_async.errors import OutboxError, OutcomeUnknownError

FULL = "ATQF1"
"""Error code of `append_v1`: there is no room for the new conversions."""

LOCKED = "55P03"
"""Error code for having waited as long as ``lock_timeout`` allows."""

TOO_MANY_CONNECTIONS = "53300"
"""Error code for a connection that the server or the role is not allowed."""

UNKNOWN_DESTINATION = "ATUD1"
"""Error code of the functions in the database: there is no such destination."""

WRONG_ISOLATION = "ATRC1"
"""Error code of `sequence_v1`: the transaction is not READ COMMITTED."""

UNDEFINED = frozenset({"3F000", "42P01", "42883", "42703"})
"""Error codes for a schema, table, function or column that does not exist."""

_CONNECTION_ENDED = frozenset({"57P01", "57P02", "57P03", "57P05"})
"""Error codes with which the server ends or refuses a connection: shutdown, crash, start, idle."""

_ADVICE: Mapping[str, str] = {
    "25006": "the server is a read-only replica: connect to the primary, for instance with "
    "target_session_attrs=read-write in the address; or default_transaction_read_only of the role, "
    "or the transaction itself, forbids writing",
    "25P02": "an earlier statement of this transaction failed: roll it back, or back to a "
    "savepoint, and then do all of it again",
    "25P03": "idle_in_transaction_session_timeout ended it: begin the transaction again",
    "40001": "another transaction came in between: do the whole transaction again",
    "40P01": "two transactions waited for each other: do the whole transaction again, and append "
    "once in it, at its end",
    **dict.fromkeys(
        ("42704", "55P02"),
        "asyncpg gives the server all options of the address that it does not know itself, such as "
        "channel_binding, connect_timeout or pgbouncer: remove that option from the address",
    ),
    **dict.fromkeys(
        ("26000", "42P05"),
        "the address is perhaps that of a pooler in transaction mode, such as PgBouncer: say "
        "behind_pooler=True, or name the server itself as listen_dsn (ANYTRACK_OUTBOX_LISTEN)",
    ),
    "42501": "the role lacks a right: let the owner of the database run `anytrack outbox migrate`, "
    "and grant USAGE on the schema and all rights on its tables, sequences and functions",
    "28000": "the role may not connect: check the address and pg_hba.conf",
    "28P01": "the password is wrong: check the address",
    "3D000": "the database does not exist: create it, or check the address",
    "53100": "the disk of the server is full: make room there, and conversions are accepted again",
    TOO_MANY_CONNECTIONS: "the server has no connection left: raise max_connections or the limit "
    "of the role, or lower `connections`",
    "57014": "the server took too long and the statement was cancelled: look for locks and load, "
    "and whether statement_timeout of the role is too short",
    "57P05": "idle_session_timeout of the role is shorter than the outbox's pauses: raise it",
    "57P03": "the server is starting up or recovering: try again in some seconds",
    LOCKED: "lock_timeout ended the wait for another transaction, which may have appended the same "
    "event id: let it end, and do this again",
    WRONG_ISOLATION: "set default_transaction_isolation to 'read committed' for the role",
} | dict.fromkeys(
    UNDEFINED, "the schema is missing or not up to date: run `anytrack outbox migrate`"
)


def is_lost(exc: BaseException) -> bool:
    """Return whether *exc* means that the connection to the server was lost or never made.

    Such a call can be repeated on another connection.
    """
    code = sqlstate(exc)
    if code is not None:
        return code.startswith("08") or code in _CONNECTION_ENDED
    return isinstance(exc, OSError | asyncio.TimeoutError) or _is_interface_error(exc)


def sqlstate(exc: BaseException) -> str | None:
    """Return the five characters of the server's error code; None if the server sent none."""
    code = getattr(exc, "sqlstate", None)
    return code if isinstance(code, str) else None


def _is_interface_error(exc: BaseException) -> bool:
    return type(exc).__module__.startswith("asyncpg") and type(exc).__name__ in (
        "InterfaceError",
        "InternalClientError",
        "ConnectionDoesNotExistError",
    )


def advice_for(code: str | None) -> str | None:
    """Return what to do about the server's error *code*, if that is known."""
    return None if code is None else _ADVICE.get(code)


def outbox_error(exc: BaseException, place: str) -> OutboxError:
    """Return the error to raise instead of *exc*, which a driver raised; raise it ``from None``.

    Args:
        exc: the driver's exception.
        place: where the outbox is: ``schema 'anytrack' at postgresql://db.shop.example/shop``.
    """
    return OutboxError(f"the outbox in {place}: {describe(exc)}")


def outcome_unknown_error(exc: BaseException, place: str) -> OutcomeUnknownError:
    """Return the error of a change after the connection was lost before the server answered."""
    return OutcomeUnknownError(
        f"the outbox in {place}: {describe(exc)}; it may have been done or not: do it again, which "
        "is safe"
    )


def slow_append_error(place: str) -> OutcomeUnknownError:
    """Return the error of an append that was not answered in time."""
    return OutcomeUnknownError(
        f"the outbox in {place}: the server did not answer in time; "
        "perhaps a transaction that has the same event id is open; it may be accepted later or "
        "not: append it again, which is safe"
    )


def describe(exc: BaseException) -> str:
    """Return what happened and what to do, without any value of a row and without the address."""
    code = sqlstate(exc)
    if code is not None:
        text = str(exc.args[0] if exc.args else type(exc).__name__).splitlines()[0]
        advice = _ADVICE.get(code)
        return f"{text} (error {code})" + (f": {advice}" if advice else "")
    return _describe_connection_error(exc)


def _describe_connection_error(exc: BaseException) -> str:
    if isinstance(exc, asyncio.TimeoutError | TimeoutError):
        return "the server did not answer in time: check that it is up and can be reached"
    if isinstance(exc, ConnectionError) and "SSL" in str(exc):
        return "the server refuses TLS: let it use TLS, or check sslmode in the address"
    if isinstance(exc, OSError):
        return (
            f"no connection to the server ({exc.strerror or type(exc).__name__}): check the address"
        )
    if _is_interface_error(exc) and str(exc).startswith("pool is "):
        return "the pool of asyncpg is closed, or was not begun with `await` or `async with`"
    if _is_interface_error(exc):
        return "the connection to the server was lost"
    if type(exc).__name__ == "TargetServerAttributeNotMatched":
        return (
            "no server of the address is the primary, for instance because a failover is not over: "
            "it is asked again; if that stays, check target_session_attrs"
        )
    return (
        f"{type(exc).__name__} of the driver: check the address of the database; characters such "
        "as @ : / ? # in its password must be written as %40 %3A %2F %3F %23"
    )


def storable(text: str) -> str:
    """Return *text* without what PostgreSQL cannot store: the null character, half a surrogate."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
