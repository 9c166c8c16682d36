"""The Python blocks of the pages in `docs` run, in the order of the page, against the sandbox.

A block runs in a namespace of its own, in a new folder with an outbox file named by
``ANYTRACK_OUTBOX``. A fence may have flags behind ``python``:

* ``continued``: the block goes on in the namespace of the block before it;
* ``skip="why"``: the block is only compiled;
* ``test``: the block is a test module, which `tests/testing/test_plugin.py` runs; here it is only
  compiled.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytrack_async.sandbox import Sandbox, running

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```python(?P<flags>[^\n]*)\n(?P<code>.+?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    page for page in ROOT.glob("docs/**/*.md") if FENCE.search(page.read_text(encoding="utf-8"))
)

RUNNER = """
import sys, types
for index, path in enumerate(sys.argv[1:]):
    code = open(path, encoding="utf-8").read()
    compiled = compile(code, path, "exec")
    if path.endswith((".skip.py", ".test.py")):
        continue
    if not path.endswith(".continued.py"):
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
    exec(compiled, module.__dict__)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


def write_blocks(page: Path, folder: Path) -> list[Path]:
    """Write each block of *page* as a file whose name has its line and its flag."""
    text, files = page.read_text(encoding="utf-8"), []
    for block in FENCE.finditer(text):
        line = text.count("\n", 0, block.start("code")) + 1
        (flag,) = re.findall(r"^$|continued|test|skip(?==\".+\")", block["flags"].strip())
        file = folder / f"{page.stem}_line_{line}{flag and f'.{flag}'}.py"
        file.write_text(block["code"], encoding="utf-8")
        files.append(file)
    return files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, sandbox: Sandbox, tmp_path: Path):
    files = write_blocks(page, tmp_path)

    result = subprocess.run(
        [sys.executable, "-c", RUNNER, *map(str, files)],
        cwd=tmp_path,
        env={
            **os.environ,
            **sandbox.environment(),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "SANDBOX_COLLECT_URL": sandbox.collect_url,
            "ANYTRACK_OUTBOX": str(tmp_path / "outbox.db"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
