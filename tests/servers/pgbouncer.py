"""PgBouncer for tests, in transaction mode: a client has a connection for one transaction."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from psycopg import conninfo

from tests.servers.process import ServerMissingError, ServerProcess

HOW_TO_GET = "apt-get install pgbouncer"


class PgBouncer:
    """A pooler in front of a PostgreSQL server, on a port of its own.

    Args:
        server: the address of a database on the server; clients may name any other there.
        pool_size: how many connections to the server its clients share.

    Attributes:
        dsn: the address of the same database through the pooler.
    """

    def __init__(self, server: str, *, pool_size: int = 4) -> None:
        program = find_program()
        self._process = ServerProcess("pgbouncer")
        address = conninfo.conninfo_to_dict(server)
        port = self._process.port
        self.dsn = f"postgresql://{address['user']}@127.0.0.1:{port}/{address['dbname']}"
        configuration = self._process.folder / "pgbouncer.ini"
        configuration.write_text(
            "[databases]\n"
            f"* = host={address['host']} port={address.get('port', 5432)} user={address['user']}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {pool_size}\n"
        )
        try:
            self._process.start([program, configuration])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the pooler."""
        self._process.end(signal.SIGKILL)
        self._process.delete()


def find_program() -> Path:
    """Return the program `pgbouncer` of this machine.

    Raises:
        ServerMissingError: there is none.
    """
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        raise ServerMissingError(f"PgBouncer is missing: {HOW_TO_GET}")
    return Path(program)
