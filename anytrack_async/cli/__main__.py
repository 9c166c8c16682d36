"""The entry point of the command `anytrack`, which is also ``python -m anytrack_async.cli``.

It needs the extra ``[cli]``; without it, one line says so.
"""

from __future__ import annotations

import sys

_REQUIRED = ("typer", "rich")


def main() -> None:
    """Run the command line and exit: 0 success, 1 something failed, 2 wrong usage or settings."""
    try:
        from anytrack_async.cli.app import app
    except ImportError as exc:
        if (exc.name or "").split(".")[0] not in _REQUIRED:
            raise
        sys.stderr.write("the command line needs: pip install 'anytrack_async[cli]'\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    app(prog_name="anytrack")


if __name__ == "__main__":
    main()
