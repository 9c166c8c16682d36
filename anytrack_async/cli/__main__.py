"""The entry point of the command `anytrack`, which is also ``python -m anytrack_async``.

It needs the extra ``[cli]``; without the extra, one line says how to install it.
"""

from __future__ import annotations

import sys

_REQUIRED = ("typer", "rich")


def main() -> None:
    """Run the command line; exit with 0 (success), 1 (failure) or 2 (wrong usage or settings)."""
    try:
        _run()
    except KeyboardInterrupt:  # before a command starts, or after it: typer handles the others
        raise SystemExit(130) from None


def _run() -> None:
    try:
        from anytrack_async.cli.app import app
    except ImportError as exc:
        if (exc.name or "").split(".")[0] not in _REQUIRED:
            raise
        sys.stderr.write("the command line needs: pip install 'anytrack_async[cli]'\n")
        raise SystemExit(2) from None
    app(prog_name="anytrack")


if __name__ == "__main__":
    main()
