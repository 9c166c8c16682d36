"""What commands show in a terminal, as pictures that load nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from anytrack_async.sandbox import running

COLUMNS = 100

_FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


def recordings() -> Mapping[str, str]:
    """Return name → the picture, after each command has run against the sandbox."""
    with running() as sandbox, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "orders_export.csv").write_text(_orders(), encoding="utf-8")
        environment = {**sandbox.environment(), "ANYTRACK_OUTBOX": str(Path(folder) / "outbox.db")}
        commands = {
            "demo": ("demo", "--count", "300"),
            "backfill": ("backfill", "orders_export.csv", "--dry-run"),
        }
        return {
            name: record(arguments, Path(folder), environment)
            for name, arguments in commands.items()
        }


def record(arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> str:
    """Return a picture of what ``anytrack`` with *arguments* prints."""
    result = subprocess.run(
        [sys.executable, "-m", "anytrack_async", *arguments],
        cwd=folder,
        env={**os.environ, **environment, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)},
        capture_output=True,
        text=True,
        check=False,
    )
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ anytrack {' '.join(arguments)}"))
    console.print(Text.from_ansi(last_screen(result.stdout).rstrip()))
    return console.export_svg(
        title="anytrack", code_format=_FONT_FACES.sub("", CONSOLE_SVG_FORMAT), unique_id="terminal"
    )


def last_screen(output: str) -> str:
    """Return *output* without the lines that were drawn over, such as those of a progress bar."""
    first, *frames = re.split(r"(?:\r|\x1b\[2K|\x1b\[1A)+", output)
    if not frames:
        return output
    height = frames[0].count("\n") + 1  # of what is drawn over
    return "\n".join([*first.split("\n")[:-height], frames[-1]])


def _orders() -> str:
    """Return a small export as Shopify makes it, with a row that is not clear."""
    paid = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d %H:%M:%S} +0000"
    rows = [
        "Name,Email,Financial Status,Paid at,Currency,Total,Lineitem quantity,Created at,Id",
        *(
            f"#{1000 + n},customer-{n}@example.com,{'pending' if n % 9 == 0 else 'paid'},{paid},"
            f"EUR,{'much' if n == 7 else f'{n}.90'},1,{paid},{n}"
            for n in range(1, 200)
        ),
    ]
    return "\n".join(rows) + "\n"
