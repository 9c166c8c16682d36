"""A server process for tests: it listens on a free port, and ends with the tests however they end.

PostgreSQL and PgBouncer refuse to run as root, so that root starts them as another user. Their
files are in a folder of their own, because that user may not enter pytest's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_STARTING_SECONDS = 30.0

# The pipe on standard input closes when the tests end, killed or not. A line in it means an orderly
# stop, after which the folder is still needed.
_GUARD = """
folder=$1; shift
"$@" </dev/null >>"$folder/output" 2>&1 &
echo $! >"$folder/pid"
read -r line || { kill -KILL $!; wait $!; rm -rf "$folder"; exit 1; }
wait $!
"""


class ServerMissingError(Exception):
    """A server is not on this machine; the message names what it is and how to get it."""


class ServerError(Exception):
    """A server did not start; the message is the end of its output."""


def unprivileged() -> pwd.struct_passwd | None:
    """Return the user that servers run as if the tests run as root; otherwise None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerMissingError("as root, servers need a user `postgres` or `nobody`; there is none")


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def answers(port: int) -> bool:
    """Whether something listens on *port* of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], problem: Callable[[], str]) -> None:
    """Wait until *condition* is true; raise `ServerError` with *problem* after 30 seconds."""
    deadline = time.monotonic() + _STARTING_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError(problem())
        time.sleep(0.02)


class ServerProcess:
    """A program that serves one port, in a temporary folder, as a user who may run it.

    Attributes:
        folder: its files; deleted by `delete`.
        port: the port on 127.0.0.1; stays the same when the server is started again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.user = unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix=f"anytrack-{name}-"))
        self.own(self.folder)
        self._guard: subprocess.Popen[bytes] | None = None

    def own(self, path: Path) -> None:
        """Give *path* to the server's user."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def run(self, *command: str | Path) -> None:
        """Run a program as the server's user, to its end."""
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, **self._identity())
        except subprocess.CalledProcessError as error:
            raise ServerError(f"{self.name}: {error.stderr or error.stdout}") from error

    def start(self, command: Sequence[str | Path], ready: Callable[[], bool] | None = None) -> None:
        """Start the server, and wait until it is *ready*; by default, until its port answers."""
        self._pid_file.unlink(missing_ok=True)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, self.name, self.folder, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._identity(),
        )
        wait_for(
            lambda: (ready() if ready else answers(self.port)) or self._check_alive(), self._output
        )

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return int(self._pid_file.read_text())

    @property
    def running(self) -> bool:
        """Whether the server was started and not ended since."""
        return self._guard is not None

    def end(self, signal: int) -> None:
        """Send *signal*, and wait until the server has ended."""
        if self._guard is None:
            return
        os.kill(self.pid, signal)
        guard, self._guard = self._guard, None
        guard.communicate(b"ended\n", timeout=_STARTING_SECONDS)

    def delete(self) -> None:
        """Delete the server's files, after its end."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _pid_file(self) -> Path:
        return self.folder / "pid"

    def _identity(self) -> dict[str, object]:
        if self.user is None:
            return {}
        identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return identity | {"cwd": self.folder, "env": os.environ | {"HOME": str(self.folder)}}

    def _check_alive(self) -> bool:
        """Raise `ServerError` if the server's process has ended; otherwise return False."""
        alive = self._pid_file.exists() and self._pid_file.read_text().strip()
        if alive:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                raise ServerError(self._output()) from None
        return False

    def _output(self) -> str:
        try:
            lines = (self.folder / "output").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = ["no output"]
        return f"{self.name} did not start: " + "\n".join(lines[-20:])
