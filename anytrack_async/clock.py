"""`steady_time`: unix seconds that never leap while the process runs; `CLOCK_ERROR`.

A wall clock is set while programs run: by NTP after a start with a wrong date, by an operator, or
after a virtual machine was paused. Ages and due times must not change with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import repeat
from operator import add
from time import monotonic, time

# A process starts at 12:00 of the wall clock, when the monotonic clock shows 50 s. At 12:10 the
# wall clock is set to 11:10; then the monotonic clock shows 650 s, and `steady_time` is 12:10.
#
# The iterators make it a single call of C code, as fast as `time.time`: it is called several times
# per conversion.
_readings = iter(monotonic, None)

steady_time: Callable[[], float] = map(add, _readings, repeat(time() - monotonic())).__next__
"""Return unix seconds: the wall clock when this module was imported, plus the time since then."""

CLOCK_ERROR = timedelta(minutes=10)
"""How far the clock of another machine may be ahead: what is dated later is in the future."""
