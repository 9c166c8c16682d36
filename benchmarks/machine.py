"""The machine: cores for client and server, memory of a process, a description."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from pathlib import Path


def pin_client() -> None:
    """Keep this process on the first core, if the machine has two and permits it."""
    _pin(0)


def pin_server() -> None:
    """Keep this process on the last core."""
    _pin(-1)


def _pin(index: int) -> None:
    # A process inherits its parent's affinity, so the index counts all cores of the machine.
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        cores = range(os.cpu_count() or 1)
        with suppress(OSError):  # not permitted here: run on any core
            os.sched_setaffinity(0, {cores[index]})


def memory(field: str = "VmHWM") -> float:
    """This process's memory in MiB: ``VmRSS`` now, ``VmHWM`` at its highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def describe() -> str:
    """Describe the machine in general terms."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, "
        f"{platform.python_implementation()} {'.'.join(map(str, sys.version_info[:3]))}"
    )
