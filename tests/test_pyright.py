"""Typical use type-checks in pyright as it does in mypy, which `make check` runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
API = ROOT / "tests/typing/api.py"

WRONG = """
from anytrack_async import AnyTrackClient, Conversion

async def wrong(client: AnyTrackClient, conversion: Conversion) -> None:
    await client.track_conversion(conversion, revenue=5)
    await client.track_conversion(conversion_type="refund")
    (await client.track_lead()).conversion_id.upper()
    Conversion(conversion_type="sales")
"""


def pyright(*files: Path) -> list[dict[str, Any]]:
    """Return the errors that pyright finds."""
    options = ["--outputjson", "--pythonpath", sys.executable, *map(str, files)]
    result = subprocess.run(
        [sys.executable, "-m", "pyright", *options], cwd=ROOT, capture_output=True, text=True
    )
    report = json.loads(result.stdout)
    assert report["summary"]["filesAnalyzed"] == len(files)
    return [found for found in report["generalDiagnostics"] if found["severity"] == "error"]


def test_pyright_accepts_typical_use_and_finds_mistakes(tmp_path: Path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG, encoding="utf-8")

    errors = pyright(API, wrong)

    assert [error for error in errors if error["file"] == str(API)] == []
    lines = {error["range"]["start"]["line"] for error in errors if error["file"] == str(wrong)}
    assert lines == {4, 5, 6, 7}
