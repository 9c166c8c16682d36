"""The examples of docs/pixel-pairing.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs/pixel-pairing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["server", "order id", "random id"])
def test_an_example_runs(block: str):
    exec(compile(block, "docs/pixel-pairing.md", "exec"), {})
