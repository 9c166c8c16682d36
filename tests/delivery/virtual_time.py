"""An event loop whose time jumps ahead when every task waits: hours pass in no time.

How long a test takes does not depend on how busy the machine is, and a scenario that stands still
runs into its (virtual) time-out at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from anytrack_async.delivery import accepting, admission


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a time-out, adds it to `now`."""

    now = 1_000.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("every task waits, and no timer will wake one of them")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time stands still while tasks run."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtual(scenario: Callable[[Callable[[], float]], Coroutine[Any, Any, None]]) -> float:
    """Call *scenario* with the loop's clock and run it; return the virtual seconds it took.

    The time that a caller has waited for room is virtual too: on a busy machine, the real time of a
    call that fails after 3 s may be 3.1 s.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, ExitStack() as patches:
        clock = runner.get_loop().time
        for module in (accepting, admission):
            patches.enter_context(patch.object(module, "monotonic", clock))
        start = clock()
        runner.run(scenario(clock))
        return clock() - start
