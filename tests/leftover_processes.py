"""Ends the Python processes that a failed test leaves behind.

A test that fails while it waits for a process never comes to end it. The process would go on
sending conversions to the sandbox that the next tests use, and these would fail for no reason of
their own. Servers stay: tests restart those that others share, and they end with the tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def ended_on_failure() -> Iterator[None]:
    """Kill the Python processes that were started in the block, if an exception leaves it."""
    before = _children()
    try:
        yield
    except BaseException:
        for pid in _children() - before:
            if _is_python(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        raise


def _children() -> set[int]:
    """Return the processes that this one has started; none where the system does not tell."""
    children: set[int] = set()
    for thread in threading.enumerate():
        with suppress(OSError):
            text = Path(f"/proc/self/task/{thread.native_id}/children").read_text("ascii")
            children.update(map(int, text.split()))
    return children


def _is_python(pid: int) -> bool:
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False
    return os.fsdecode(program) == sys.executable
