"""`run_in_process`: call a function of a benchmark script in a fresh process."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_in_process(module: str, function: str, *arguments: Any) -> Any:
    """Return ``benchmarks.<module>.<function>(*arguments)``, called in a process of its own.

    Arguments and result must be JSON values.

    Raises:
        RuntimeError: the function failed; the message is the end of its standard error.
    """
    call = json.dumps([module, function, arguments])
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", call],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    if process.returncode:
        raise RuntimeError(f"{module}.{function}: {process.stderr.strip()[-2000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def _main() -> None:
    module, function, arguments = json.loads(sys.argv[1])
    result = getattr(importlib.import_module(f"benchmarks.{module}"), function)(*arguments)
    print("\n" + json.dumps(result), flush=True)
    os._exit(0)  # some trackers' threads never end


if __name__ == "__main__":
    _main()
