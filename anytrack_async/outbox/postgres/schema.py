"""The schema of an outbox in PostgreSQL: its SQL, and bringing a database up to date.

Functions in the database have a version in their name. A release that changes the arguments or the
result of a function adds a new version, so that processes of both releases work side by side while
the old ones are replaced. Any other change of the SQL raises `SCHEMA_VERSION` too, because programs
compare nothing but that to find out whether a database is up to date.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError, OutboxError, SchemaVersionError
from anytrack_async.outbox.postgres.errors import UNDEFINED, outbox_error, sqlstate

if TYPE_CHECKING:
    import asyncpg

SCHEMA_VERSION = 3
"""Version of the tables and functions that this release uses."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_SCRIPTS = (
    "tables",
    "history_tables",
    "append",
    "claim",
    "lease",
    "settle",
    "destinations",
    "reports",
    "dead_letters",
    "retention",
    "erasing",
    "history",
    "encryption",
)
"""The SQL files, in the order in which they are run."""


def check_schema_name(name: object) -> str:
    """Return *name* if it may be that of the schema.

    Raises:
        ConfigurationError: it is not 1 to 63 lower-case letters, digits and underscores.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "schema must be 1 to 63 lower-case letters, digits and underscores, not beginning with "
            f"a digit, got {shown(name)}"
        )
    return name


def in_schema(sql: str, schema: str) -> str:
    """Return *sql*, which is written for the schema ``anytrack``, for another one."""
    quoted = f'"{schema}"'
    return sql.replace("anytrack.", f"{quoted}.").replace("EXISTS anytrack;", f"EXISTS {quoted};")


# IF NOT EXISTS alone locks the table first, and so waits for every transaction that has appended to
# it, while all others wait for this one.
_INDEX = re.compile(r"CREATE INDEX IF NOT EXISTS (\w+) ON ([^;]+);")
_ONLY_IF_MISSING = (
    r"DO $$ BEGIN IF to_regclass('anytrack.\1') IS NULL THEN CREATE INDEX \1 ON \2; END IF; END $$;"
)


@cache
def _scripts() -> str:
    folder = files("anytrack_async.outbox.postgres") / "sql"
    scripts = "\n".join((folder / f"{name}.sql").read_text("utf-8") for name in _SCRIPTS)
    return _INDEX.sub(_ONLY_IF_MISSING, scripts)


def migrate_sql(schema: str = "anytrack") -> str:
    """Return the SQL that creates the schema of an outbox or brings it up to date.

    Run it with ``psql`` as a role that may create schemas, if the application's role may not.
    Running it again changes nothing.

    Args:
        schema: name of the schema.

    Raises:
        ConfigurationError: no schema can have that name.
    """
    schema = check_schema_name(schema)
    version = in_schema(_SET_VERSION, schema)
    lock, scripts = _LOCK.format(schema=schema), in_schema(_scripts(), schema)
    return f"BEGIN;\n{lock};\n{scripts}\n{version}COMMIT;\n"


# Two processes that start at once must not create the same table at the same moment.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('anytrack outbox'), hashtext('{schema}'))"

_SET_VERSION = f"""INSERT INTO anytrack.format (version)
    SELECT {SCHEMA_VERSION} WHERE NOT EXISTS (SELECT FROM anytrack.format);
UPDATE anytrack.format SET version = {SCHEMA_VERSION} WHERE version < {SCHEMA_VERSION};
"""  # noqa: S608

# As JSON, because a schema of the first release has no column for the oldest one.
_VERSION = """SELECT max(version), max((to_jsonb(format) ->> 'oldest')::int) FROM anytrack.format"""


async def schema_version(connection: asyncpg.Connection[Any], schema: str) -> int:
    """Return the version of the schema in the database, 0 if there is none.

    It may be greater than `SCHEMA_VERSION` if the later release still has all functions that this
    release uses.

    Raises:
        SchemaVersionError: the later release has removed some of these functions.
    """
    try:
        row = await connection.fetchrow(in_schema(_VERSION, schema))
    except Exception as exc:
        if sqlstate(exc) in UNDEFINED:
            return 0
        raise
    version, oldest = (0, 0) if row is None else (row[0] or 0, row[1] or 0)
    if version > SCHEMA_VERSION < oldest:
        raise SchemaVersionError(
            f"the schema {schema!r} has version {version}, written by a later release; this "
            f"release works with version {SCHEMA_VERSION}: upgrade anytrack_async"
        )
    return version


_SCHEMAS = """SELECT nspname FROM pg_namespace
    JOIN pg_class ON relnamespace = pg_namespace.oid AND relname IN ('format', 'arrival', 'lease')
    GROUP BY nspname HAVING count(*) = 3 ORDER BY nspname LIMIT 5"""
"""The schemas that have an outbox, by the names of tables: the role may not read each of them."""


async def check_version(
    connection: asyncpg.Connection[Any], schema: str, *, may_be_old: bool = False
) -> None:
    """Check that the schema is there and up to date, without changing the database.

    Args:
        connection: to the database.
        schema: name of the schema.
        may_be_old: whether it need not be up to date.

    Raises:
        SchemaVersionError: it is not, or see `schema_version`; the message says what to do.
    """
    version = await schema_version(connection, schema)
    if version == 0:
        names = [row["nspname"] for row in await connection.fetch(_SCHEMAS)]
        others = f"has outboxes in {', '.join(map(repr, names))}" if names else "has none"
        raise SchemaVersionError(
            f"there is no outbox in the schema {schema!r}; this database {others}: check "
            "ANYTRACK_OUTBOX_SCHEMA, or run `anytrack outbox migrate` to create it"
        )
    if version < SCHEMA_VERSION and not may_be_old:
        raise SchemaVersionError(
            f"the schema {schema!r} has version {version}, and this release needs version "
            f"{SCHEMA_VERSION}: run `anytrack outbox migrate`"
        )


async def migrate(connection: asyncpg.Connection[Any], schema: str, *, again: bool = False) -> bool:
    """Create the schema, or bring it up to date; return whether there was anything to do.

    Several processes may do this at once.

    Args:
        connection: to the database.
        schema: name of the schema.
        again: whether to run the SQL although the version is that of this release, which puts back
            what is missing or was changed by hand. What a later release made always stays.

    Raises:
        OutboxError: the role lacks a right; the message says what to do.
        SchemaVersionError: a later release has changed the schema.
    """
    version = await schema_version(connection, schema)
    if version > SCHEMA_VERSION or (version == SCHEMA_VERSION and not again):
        return False
    try:
        await connection.execute(migrate_sql(schema))
    except Exception as exc:
        if sqlstate(exc) is None:
            raise
        await connection.execute("ROLLBACK")
        raise _migration_error(exc, schema) from None
    return True


def _migration_error(exc: Exception, schema: str) -> OutboxError:
    if sqlstate(exc) in UNDEFINED:
        return OutboxError(
            f"the schema {schema!r} has tables of something else with names that the outbox needs: "
            "name another schema (ANYTRACK_OUTBOX_SCHEMA, or PostgresOutbox(schema=…)); nothing "
            "was changed"
        )
    if sqlstate(exc) != "42501":
        return outbox_error(exc, f"schema {schema!r} of PostgreSQL")
    return OutboxError(
        f"the role may not create the schema {schema!r}: run the output of `anytrack outbox "
        "migrate --sql` as the owner of the database, and grant USAGE on the schema and all rights "
        "on its tables, sequences and functions to this role"
    )
