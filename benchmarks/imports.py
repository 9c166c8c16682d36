"""Row 12: the cost of ``import anytrack_async``, compared with ``import httpx``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measure import Row

NUMBER = 12
NEEDS = ()

_MAX = 60  # ms
_TIMED = "import time; t = time.process_time(); {}; print(time.process_time() - t)"
_NAMES = "from anytrack_async import AnyTrackClient, Conversion"
_HTTPX, _PACKAGE = "httpx", "anytrack_async"
_WITH_NAMES, _WITH_CLIENT = "with AnyTrackClient and Conversion", "with a client made"
_CODE = {
    _HTTPX: "import httpx",
    _PACKAGE: "import anytrack_async",
    _WITH_NAMES: _NAMES,
    _WITH_CLIENT: f"{_NAMES}; AnyTrackClient('key', 'account')",
}


def run(quick: bool) -> Row:
    """Compare in fresh processes, in turns."""
    times = _times(3 if quick else 25)
    more = {name: took - times[_HTTPX] for name, took in times.items()}
    return Row(
        number=NUMBER,
        measure="`import anytrack_async`",
        against="`import httpx`",
        target=f"≤ + {_MAX} ms",
        result=(
            f"{_signed(more[_PACKAGE])} ms ({_WITH_NAMES} {_signed(more[_WITH_NAMES])} ms, "
            f"{_WITH_CLIENT} {_signed(more[_WITH_CLIENT])} ms)"
        ),
        reached=more[_PACKAGE] <= _MAX,
        details=(
            f"httpx: {times[_HTTPX]:.0f} ms",
            f"anytrack_async, which loads each name on first use: {times[_PACKAGE]:.0f} ms",
            f"{_WITH_NAMES}, httpx included: {times[_WITH_NAMES]:.0f} ms",
            f"{_WITH_CLIENT}, httpx included: {times[_WITH_CLIENT]:.0f} ms",
        ),
    )


def _times(rounds: int) -> Mapping[str, float]:
    """Return the processor time of each import, in milliseconds."""
    with TemporaryDirectory() as cache:
        # With bytecode, as installers leave a package; a checkout may have none.
        environ = os.environ | {"PYTHONPYCACHEPREFIX": cache}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for code in _CODE.values():
            _time(code, environ)
        samples = [
            {name: _time(code, environ) for name, code in _CODE.items()} for _ in range(rounds)
        ]
    return {name: median(times[name] for times in samples) for name in _CODE}


def _time(code: str, environ: Mapping[str, str]) -> float:
    out = subprocess.check_output([sys.executable, "-c", _TIMED.format(code)], env=environ)
    return float(out) * 1e3


def _signed(milliseconds: float) -> str:
    return f"{'+' if milliseconds >= 0 else '−'} {abs(milliseconds):.0f}"
