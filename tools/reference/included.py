"""Programs of ``docs/examples`` inside other pages: copies, which any reader of Markdown shows.

A block whose fence names a file has that file's text::

    ```python file="examples/fastapi_app.py"
    …
    ```

`refresh` writes the copies anew, and a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_INCLUDED = re.compile(
    r'^(?P<fence>```python file="(?P<file>[\w/]+\.py)"\n)(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


def included() -> Iterator[tuple[Path, str]]:
    """Yield each page with the path, from ``docs``, of each file that it includes."""
    for page in sorted(DOCS.rglob("*.md")):
        for block in _INCLUDED.finditer(page.read_text(encoding="utf-8")):
            yield page, block["file"]


def outdated() -> list[str]:
    """Return the pages with a copy that is not what its file has."""
    return [
        str(page.relative_to(DOCS))
        for page in sorted(DOCS.rglob("*.md"))
        if (text := page.read_text(encoding="utf-8")) != _with_copies(text)
    ]


def refresh() -> None:
    """Write the copies in all pages anew."""
    for name in outdated():
        page = DOCS / name
        page.write_text(_with_copies(page.read_text(encoding="utf-8")), encoding="utf-8")


def _with_copies(text: str) -> str:
    return _INCLUDED.sub(_copy, text)


def _copy(block: re.Match[str]) -> str:
    program = (DOCS / block["file"]).read_text(encoding="utf-8")
    return f"{block['fence']}{program.rstrip()}\n```"
