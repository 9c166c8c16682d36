"""Write the generated pages into ``docs/reference``, and the programs that other pages include.

With ``--check``, only compare them.

With ``--site FOLDER``, write ``llms.txt`` and ``reference.md`` into a built site instead: the same
content for programs that read Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tools.reference import commands, environment, errors, events, included, plain

REFERENCE = Path(__file__).parents[2] / "docs/reference"
PAGES: dict[str, Callable[[], str]] = {
    "errors.md": errors.page,
    "events.md": events.page,
    "commands.md": commands.page,
    "environment.md": environment.page,
}
"""File in ``docs/reference`` → the function that returns its text."""


def outdated() -> list[str]:
    """Return the names of pages that are not what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (file := REFERENCE / name).exists() or file.read_text(encoding="utf-8") != page()
    ] + included.outdated()


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--site", type=Path)
    options = parser.parse_args()
    if options.site:
        plain.write(options.site)
    elif options.check:
        if names := outdated():
            sys.exit(f"{', '.join(names)}: write anew with python -m tools.reference")
    else:
        for name, page in PAGES.items():
            (REFERENCE / name).write_text(page(), encoding="utf-8")
        included.refresh()


if __name__ == "__main__":
    main()
