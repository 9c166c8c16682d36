from __future__ import annotations

import pytest

from tests.delivery.doubles import WatchedFlow


@pytest.fixture
def flow() -> WatchedFlow:
    return WatchedFlow()
