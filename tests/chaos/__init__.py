"""Attacks on the promise that nothing accepted is lost: ``python -m tests.chaos``.

``docs/reliability.md`` describes each attack and its last figures.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import attrs

from tests.chaos.trial import Trial


@attrs.frozen
class Attack:
    """An attack.

    Attributes:
        function: ``module:name`` of the function that makes it.
        share: of the time, in relation to the other attacks.
    """

    function: str
    share: int

    async def make(self, trial: Trial) -> None:
        """Make the attack; its module is imported now, so that each can be made alone."""
        module, _, name = self.function.partition(":")
        function = getattr(importlib.import_module(f"tests.chaos.{module}"), name)
        await cast("Callable[[Trial], Awaitable[None]]", function)(trial)


ATTACKS: Mapping[str, Attack] = {
    "kill": Attack("processes:kill_one", 3),
    "share": Attack("processes:kill_of_several", 3),
    "stop": Attack("processes:stop_and_wake", 2),
    "power": Attack("power:attack", 4),
    "network": Attack("network:attack", 8),
    "cancel": Attack("cancel:attack", 3),
    "fatal": Attack("fatal:attack", 1),
    "clock": Attack("clock:attack", 2),
    "fleet": Attack("fleet:attack", 4),
    "full": Attack("full:attack", 2),
}
