"""Which tests start first, so that no long one is left for the end.

The tests named here mostly wait: for processes they kill, for servers, for a browser. Each worker
starts with some of them, and steals short tests from the others afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

# The longest first; a directory stands for its files.
LONG = (
    "tests/end_to_end/test_crashes.py",
    "tests/test_readme.py",
    "tests/web_console/test_browser.py",
    "tests/workers/test_examples.py",
    "tests/integrations/test_frameworks.py",
    "tests/backfilling/test_kill.py",
    "tests/programs/",
    "tests/benchmarks/test_benchmarks.py",
    "tests/delivery/test_lane_down.py",
    "tests/end_to_end/",
    "tests/test_pyright.py",
    "tests/cli/test_pump.py",
    "tests/backfilling/test_kill_sockets.py",
    "tests/client/test_hosts.py",
    "tests/cli/",
    "tests/chaos/",
    "tests/feeds/",
    "tests/test_docs.py",
)


def long_tests_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Order tests for `workers` of pytest-xdist, of which each gets a part of equal length.

    Args:
        items: All tests, in the order of their files; it is kept within a file.
        workers: How many workers run them.

    Returns:
        The same tests. Each part starts with every `workers`-th of the long files.
    """
    files: dict[int, list[pytest.Item]] = {}
    short: list[pytest.Item] = []
    for item in items:
        rank = next((i for i, start in enumerate(LONG) if item.nodeid.startswith(start)), None)
        (short if rank is None else files.setdefault(rank, [])).append(item)
    starts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, rank in enumerate(sorted(files)):
        starts[number % workers] += files[rank]
    ordered: list[pytest.Item] = []
    for number, start in enumerate(starts):
        end = len(items) * (number + 1) // workers
        room = max(0, end - len(ordered) - len(start)) if number < workers - 1 else len(short)
        ordered += [*start, *short[:room]]
        short = short[room:]
    return ordered
