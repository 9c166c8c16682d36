"""The Python blocks of the pages in `docs` run, in the order of the page.

A block runs in a namespace of its own, in a new folder with an outbox file named by
``ANYTRACK_OUTBOX``. It has no credentials. A fence may have flags behind ``python``:

* ``run``: the same as no flag;
* ``server``: the sandbox runs beside the block, and its environment variables are set;
* ``continued``: the block goes on in the namespace, and with the variables, of the block before it;
* ``skip="why"``: the block is only compiled;
* ``test``: the block is a test module, which `tests/testing/test_plugin.py` runs; here it is only
  compiled;
* ``file="examples/….py"``: the block is a copy of a program, which `tools/reference/included.py`
  writes; the program itself is run by `tests/programs`, `tests/workers` and `tests/feeds`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytrack_async.sandbox import Sandbox, running
from tools.reference import included

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```python(?P<flags>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r'run|server|continued|test|(?:skip|file)="[^"]+"')
NOT_RUN = {"skip", "test", "file"}
PAGES = sorted(
    page for page in ROOT.glob("docs/**/*.md") if FENCE.search(page.read_text(encoding="utf-8"))
)
SKIPPED = {
    "docs/coming-from/celery-task.md": 1,
    "docs/many-machines.md": 3,
}
"""Page → how many of its blocks cannot run. Rather than another one here, write one that runs."""

RUNNER = """
import json, os, sys, types
credentials = json.loads(os.environ.pop("SANDBOX_VARIABLES"))
for path, flags in json.loads(sys.argv[1]):
    code = open(path, encoding="utf-8").read()
    compiled = compile(code, path, "exec")
    if {"skip", "test", "file"} & {*flags}:
        continue
    if "continued" not in flags:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        for name in credentials:
            os.environ.pop(name, None)
    if "server" in flags:
        os.environ.update(credentials)
    exec(compiled, module.__dict__)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


def flags_of(block: re.Match[str]) -> dict[str, str]:
    """Return the flags of a block, each with its value, and check that there are no others."""
    words = FLAG.findall(block["flags"])
    assert " ".join(words) == block["flags"].strip(), f"unknown flag: {block[0].splitlines()[0]}"
    return {name: value.strip('"') for name, _, value in (word.partition("=") for word in words)}


def write_blocks(page: Path, folder: Path) -> list[tuple[str, list[str]]]:
    """Write each block of *page* as a file whose name has its line; return them with flags."""
    text, files = page.read_text(encoding="utf-8"), []
    for block in FENCE.finditer(text):
        line = text.count("\n", 0, block.start("code")) + 1
        file = folder / f"{page.stem}_line_{line}.py"
        file.write_text(block["code"], encoding="utf-8")
        files.append((str(file), [*flags_of(block)]))
    return files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, sandbox: Sandbox, tmp_path: Path):
    files = write_blocks(page, tmp_path)
    variables = {**sandbox.environment(), "SANDBOX_COLLECT_URL": sandbox.collect_url}

    result = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(files)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "SANDBOX_VARIABLES": json.dumps(variables),
            "ANYTRACK_OUTBOX": str(tmp_path / "outbox.db"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_few_blocks_are_skipped_and_each_says_why() -> None:
    reasons: dict[str, list[str]] = {}
    for page in PAGES:
        for block in FENCE.finditer(page.read_text(encoding="utf-8")):
            if "skip" in (flags := flags_of(block)):
                reasons.setdefault(str(page.relative_to(ROOT)), []).append(flags["skip"])

    assert {page: len(texts) for page, texts in reasons.items()} == SKIPPED
    assert all(len(text) > 15 for texts in reasons.values() for text in texts), reasons


def test_each_program_is_included_in_one_page_as_it_is() -> None:
    files = [file for _, file in included.included()]

    assert sorted(files) == sorted(
        str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/examples/*.py")
    )
    assert included.outdated() == [], "run: python -m tools.reference"


def test_each_program_is_run_by_a_test() -> None:
    tests = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")
    )

    for path in ROOT.glob("docs/examples/*.py"):
        assert path.stem in tests, f"no test runs {path.name}"
