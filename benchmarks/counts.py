"""The per-commit guard: how much the hot path does per conversion, counted and not timed.

``python -m benchmarks.counts`` compares with ``baseline.json`` and fails where it grew beyond the
slack; with ``--keep`` it writes a new baseline. Counts, each for the Python it was made with:

- ``calls``: functions called, Python's and C's; ``calls in bulk``: where many are submitted at once
  and the outbox is full. The same on every machine.
- ``instructions``: of the processor, by callgrind; only where valgrind is installed.
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
    """Count, compare, say so; 1 if something grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="make what is counted the baseline")
    keep = parser.parse_args(arguments).keep
    kept = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counted = {"calls": calls(work), "calls in bulk": calls(work_in_bulk)}
    if (count := instructions()) is None:
        print("instructions: skipped, valgrind is not installed")
    else:
        counted["instructions"] = count
    if keep:
        kept[PYTHON] = kept.get(PYTHON, {}) | counted
        BASELINE.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    return _compared(counted, kept.get(PYTHON, {}))


def _compared(counted: dict[str, int], baseline: dict[str, int]) -> int:
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
    """Return the function calls that a conversion costs on the way that *work* takes."""
    made = sales(2 * COUNT)
    asyncio.run(work(made))  # what is done once, done
    # The opening and closing cancel out.
    return round((_profiled(work, made) - _profiled(work, made[:COUNT])) / COUNT)


def _profiled(work: Work, made: Sequence[Conversion]) -> int:
    count = 0

    def note(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    sys.setprofile(note)
    try:
        asyncio.run(work(made))
    finally:
        sys.setprofile(None)
    return count


def instructions() -> int | None:
    """Return the processor's instructions that a conversion costs, None without valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    return round((_counted(valgrind, 3) - _counted(valgrind, 1)) / (2 * COUNT))


def _counted(valgrind: str, rounds: int) -> int:
    with tempfile.NamedTemporaryFile() as out:
        done = subprocess.run(
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
    return int(re.findall(r"Collected\s*:\s*(\d+)", done.stderr)[-1])


if __name__ == "__main__":
    sys.exit(main())
