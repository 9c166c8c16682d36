"""The command `anytrack`: try the library, track from a shell, look after an outbox.

It needs the extra ``[cli]``; without it, one line says so.
"""

from __future__ import annotations

import sys

_NEEDED = ("typer", "rich")

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit: 0 well, 1 something failed, 2 wrong usage or set-up."""
    try:
        from anytrack_async.cli.app import app
    except ImportError as exc:
        if (exc.name or "").split(".")[0] not in _NEEDED:
            raise
        sys.stderr.write("the command line needs: pip install 'anytrack_async[cli]'\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    app(prog_name="anytrack")
