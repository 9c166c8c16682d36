"""`OutboxLocation`: where an outbox is, as ``ANYTRACK_OUTBOX`` and ``--outbox`` name it.

outbox.db, sqlite:outbox.db              a file
postgresql://user:password@host/name     a schema in a database of PostgreSQL
:memory:                                 the memory of this process
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from anytrack_async.descriptions import database_address, shown_address
from anytrack_async.errors import ConfigurationError, OutboxError
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.memory.outbox import MemoryOutbox

if TYPE_CHECKING:
    from anytrack_async.codec.encryption import KeyRing

MEMORY = ":memory:"
"""Instead of a path: an outbox in memory, as sqlite3 calls it."""

SCHEMA_VARIABLE = "ANYTRACK_OUTBOX_SCHEMA"
"""The environment variable with the name of the schema in the database."""

LISTEN_VARIABLE = "ANYTRACK_OUTBOX_LISTEN"
"""The environment variable with the address of the database behind a pooler."""

_NO_ADDRESS = re.compile(
    r"postgres(ql)?:|\s*(host|hostaddr|port|dbname|user|password|service)\s*=", re.IGNORECASE
)
"""How texts begin that are meant as the address of a database, and would be strange paths."""


@attrs.frozen
class OutboxLocation(os.PathLike[str]):
    """Where an outbox is; as text, without the password of a database.

    Attributes:
        address: a path, or the address of a database; never shown. That of a database may be
            written as SQLAlchemy does, ``postgresql+asyncpg://…``.

    Raises:
        ConfigurationError: no outbox can be there.
    """

    address: str = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        scheme, separator, path = self.address.partition(":")
        if scheme == "sqlite" and separator:  # sqlite:///outbox.db, as in URLs of SQLAlchemy
            object.__setattr__(self, "address", path.removeprefix("///"))
        elif (address := database_address(self.address)) is not None:
            object.__setattr__(self, "address", address)
        elif _NO_ADDRESS.match(self.address):
            raise ConfigurationError(
                "the address of an outbox in a database must be written as "
                "postgresql://user:password@host/database; that of a file with such a name, as "
                "sqlite:PATH"
            )
        elif "://" in self.address:
            raise ConfigurationError(
                f"an outbox can be a file or at postgresql://…, not at {scheme[:20]}://…"
            )

    @property
    def is_database(self) -> bool:
        """Whether it is in a database of PostgreSQL."""
        return self.address.startswith("postgresql://")

    @property
    def path(self) -> Path:
        """The path of its file.

        Raises:
            ConfigurationError: it is no file, or the path is not usable.
        """
        from anytrack_async.outbox.sqlite.files import file_path

        if self.is_database:
            raise ConfigurationError(f"the outbox at {self} is no file, but this needs one")
        return file_path(self.address)

    def __fspath__(self) -> str:
        return self.address

    def __str__(self) -> str:
        if not self.is_database:
            return str(self.path)
        return shown_address(self.address)

    def outbox(
        self,
        keys: KeyRing | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        create: bool = True,
    ) -> Outbox:
        """Return the outbox, not open.

        Args:
            keys: encrypt a file or a database.
            environ: has the schema of a database, and the address to listen at; None for none.
            create: whether its `open` may create the schema in a database, or change it.

        Raises:
            ConfigurationError: a file cannot be there, or the extra
                ``[postgres]`` is not installed.
        """
        if self.address == MEMORY:
            return MemoryOutbox()
        if self.is_database:
            return self._database(keys, environ or {}, create=create)
        # Imported here, so that a client with its outbox in memory never loads sqlite3.
        from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

        return SQLiteOutbox(self.address, keys=keys)

    def _database(
        self, keys: KeyRing | None, environ: Mapping[str, str], *, create: bool
    ) -> Outbox:
        from anytrack_async.outbox.postgres.outbox import PostgresOutbox

        return PostgresOutbox(
            self.address,
            schema=environ.get(SCHEMA_VARIABLE) or "anytrack",
            listen_dsn=environ.get(LISTEN_VARIABLE) or None,
            keys=keys,
            migrate=create,
        )

    @property
    def problem(self) -> str | None:
        """Why its file cannot be opened: it is missing, or a folder; None for a database.

        Whether a database has the outbox, only opening it finds out.
        """
        if self.is_database or self.path.is_file():
            return None
        if self.path.is_dir():
            return "is a folder: add the name of the outbox file"
        return "does not exist; the first client that uses it creates it"

    def check_exists(self) -> OutboxLocation:
        """Return it if it may be opened; blocks.

        Raises:
            OutboxError: there is no such file.
        """
        if problem := self.problem:
            raise OutboxError(f"{self.path} {problem}")
        return self
