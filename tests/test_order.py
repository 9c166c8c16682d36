"""Long tests start first, and none is lost."""

from types import SimpleNamespace

import pytest

from tests.order import LONG, long_tests_first


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_each_worker_starts_with_long_tests_and_none_is_lost(workers):
    names = [f"tests/models/test_{number}.py" for number in range(200)]
    names += [f"{start}{number}" for start in LONG for number in range(2)]
    items = [SimpleNamespace(nodeid=name) for name in names]

    ordered = [item.nodeid for item in long_tests_first(items, workers)]

    assert sorted(ordered) == sorted(names)
    starts = [ordered[len(ordered) * number // workers] for number in range(workers)]
    assert all(start.startswith(LONG) for start in starts)
