"""Row 12: what ``import anytrack_async`` costs on top of ``import httpx``."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.measure import Row

NUMBER = 12
NEEDS = ()
_CODE = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


def run(quick: bool) -> Row:
    """Compare in fresh processes, by turns."""
    times: dict[str, list[float]] = {"httpx": [], "anytrack_async": []}
    for _ in range(3 if quick else 25):
        for name, taken in times.items():
            out = subprocess.check_output([sys.executable, "-c", _CODE.format(name)], text=True)
            taken.append(float(out) * 1e3)
    httpx, ours = median(times["httpx"]), median(times["anytrack_async"])
    return Row(
        number=NUMBER,
        measure="`import anytrack_async`",
        against="`import httpx`",
        reach="≤ + 60 ms",
        got=f"+ {ours - httpx:.0f} ms",
        reached=ours - httpx <= 60,
        details=(f"httpx: {httpx:.0f} ms", f"anytrack_async, with httpx: {ours:.0f} ms"),
    )
