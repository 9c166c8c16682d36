"""Attacks on the promise that nothing accepted is lost: ``python -m tests.chaos``.

``docs/reliability.md`` describes each attack and its last figures.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import cast

from tests.chaos.trial import Trial

ATTACKS = {
    "kill": 3,
    "share": 3,
    "stop": 2,
    "power": 4,
    "network": 8,
    "cancel": 3,
    "fatal": 1,
    "clock": 2,
}
"""Attack → its share of the time. Each is a module of this package with a function `attack`."""


def attack_function(name: str) -> Callable[[Trial], Awaitable[None]]:
    """Return the function that makes the attack *name*."""
    module = importlib.import_module(f"tests.chaos.{name}")
    return cast("Callable[[Trial], Awaitable[None]]", module.attack)
