"""How many examples a property test tries: few in `make test`, many with `THOROUGH=1`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("THOROUGH"))


def examples(thorough: int) -> int:
    """Return how many examples to try now, where a thorough run tries *thorough*.

    A third of them, but at least ten: 150 become 50, and 20 become 10. Each run tries other ones.
    """
    return thorough if THOROUGH else min(thorough, max(10, thorough // 3))
