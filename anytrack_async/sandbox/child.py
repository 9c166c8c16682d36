"""The process behind `running`: settings come in on standard input, the address goes out.

It ends when its standard input does, that is, with its parent, however the parent ends.
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
        _say(error=str(exc))
        return
    settings = SandboxSettings.from_dict(order["settings"])
    server = Server(settings, listener, lambda url: _say(url=url))
    threading.Thread(target=_stop_at_end, args=(server,), daemon=True).start()
    server.run()


def _say(**what: str) -> None:
    with suppress(BrokenPipeError):  # whoever started this process is gone already
        os.write(sys.stdout.fileno(), orjson.dumps(what) + b"\n")


def _stop_at_end(server: Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
