"""The process that `running` starts: settings arrive on standard input, the address goes out.

It ends when standard input is closed, so that it never outlives its parent, even one that is
killed.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

import orjson

from anytrack_async.sandbox.server import Server, listen
from anytrack_async.sandbox.settings import SandboxSettings


def main() -> None:
    """Serve until standard input is closed."""
    order = orjson.loads(sys.stdin.buffer.readline())
    try:
        listener = listen("127.0.0.1", order["port"])
    except OSError as exc:
        _report(error=str(exc))
        return
    settings = SandboxSettings.from_dict(order["settings"])
    server = Server(settings, listener, lambda url: _report(url=url))
    threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
    server.run()


def _report(**message: str) -> None:
    with suppress(BrokenPipeError):  # the parent has ended already
        os.write(sys.stdout.fileno(), orjson.dumps(message) + b"\n")


def _stop_with_parent(server: Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
