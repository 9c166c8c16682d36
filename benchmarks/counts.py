"""The check of each commit: calls and instructions of the hot path per conversion.

``python -m benchmarks.counts`` compares with ``baseline.json`` and fails if a count grew by more
than its slack; with ``--keep`` it writes a new baseline. Counts, each for one version of Python:

- ``calls``: calls of Python and C functions; ``calls in bulk``: the same, with many conversions
  submitted at once into a full outbox. The same on every machine.
- ``instructions``: of the processor, counted by callgrind; only if valgrind is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from anytrack_async import Conversion
from benchmarks.hot_path import COUNT, sales, work, work_in_bulk

BASELINE = Path(__file__).with_name("baseline.json")
SLACK = {"calls": 0.03, "calls in bulk": 0.05, "instructions": 0.08}
Work = Callable[[Sequence[Conversion]], Coroutine[Any, Any, None]]
PYTHON = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, compare and print; return 1 if a count grew too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="make these counts the baseline")
    keep = parser.parse_args(arguments).keep
    baselines = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counted = {"calls": calls(work), "calls in bulk": calls(work_in_bulk)}
    if (count := instructions()) is None:
        print("instructions: skipped, valgrind is not installed")
    else:
        counted["instructions"] = count
    if keep:
        baselines[PYTHON] = baselines.get(PYTHON, {}) | counted
        BASELINE.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n")
    return _compare(counted, baselines.get(PYTHON, {}))


def _compare(counted: dict[str, int], baseline: dict[str, int]) -> int:
    grown = 0
    for name, count in counted.items():
        before = baseline.get(name)
        if before is None:
            print(f"{name}: {count:,} per conversion; no baseline for {PYTHON}, nothing compared")
            continue
        growth = count / before - 1
        verdict = "ok" if growth <= SLACK[name] else f"TOO MUCH, at most {SLACK[name]:+.0%}"
        print(f"{name}: {count:,} per conversion, {growth:+.1%} to the baseline: {verdict}")
        grown += growth > SLACK[name]
    return int(grown > 0)


def calls(work: Work) -> int:
    """Return the function calls of *work* per conversion."""
    conversions = sales(2 * COUNT)
    asyncio.run(work(conversions))  # imports and fills caches, which must not be counted
    # Opening and closing cost the same in both runs: the difference is COUNT conversions.
    total = _profile(work, conversions)
    return round((total - _profile(work, conversions[:COUNT])) / COUNT)


def _profile(work: Work, conversions: Sequence[Conversion]) -> int:
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    sys.setprofile(note)
    try:
        asyncio.run(work(conversions))
    finally:
        sys.setprofile(None)
    return count


def instructions() -> int | None:
    """Return the processor's instructions per conversion, or None without valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    return round((_instructions(valgrind, 3) - _instructions(valgrind, 1)) / (2 * COUNT))


def _instructions(valgrind: str, rounds: int) -> int:
    with tempfile.NamedTemporaryFile() as out:
        process = subprocess.run(
            [
                *(valgrind, "--tool=callgrind", f"--callgrind-out-file={out.name}"),
                *(sys.executable, "-m", "benchmarks.hot_path", str(rounds)),
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    return int(re.findall(r"Collected\s*:\s*(\d+)", process.stderr)[-1])


if __name__ == "__main__":
    sys.exit(main())
