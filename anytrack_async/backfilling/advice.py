"""How messages name settings: as arguments to a program, as options to a user of the terminal.

A message names only the form that its reader can change; both readers can also edit their own
``map.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

_PYTHON: Final[Mapping[str, str]] = {
    "contacts": "contacts=…",
    "currency": "currency='EUR'",
    "day_first": "day_first=True (25/06/2026) or day_first=False (06/25/2026)",
    "decimal": "decimal=',' or decimal='.'",
    "encoding": "encoding='cp1252'",
    "preset": "preset=…",
    "timestamp": "timestamp=…",
    "timezone": "timezone='Europe/Berlin' or timezone='+02:00'",
}
_COMMAND: Final[Mapping[str, str]] = {
    "contacts": "--contacts FILE",
    "currency": "--currency EUR",
    "day_first": "--day-first (25/06/2026) or --month-first (06/25/2026)",
    "decimal": "--decimal , or --decimal .",
    "encoding": "--encoding cp1252",
    "preset": "--preset NAME",
    "timestamp": "--timestamp TIME",
    "timezone": "--timezone Europe/Berlin or --timezone +02:00",
}
_KEYS: Final[Mapping[str, str]] = {
    "currency": 'currency = "EUR"',
    "day_first": "day_first = true",
    "decimal": 'decimal = ","',
    "formats": 'formats = ["iso", "written"]',
    "timezone": 'timezone = "Europe/Berlin"',
}


@attrs.frozen(kw_only=True)
class Advice:
    """Names settings in the form in which the reader of a message can change them.

    Attributes:
        command: whether as options of ``anytrack backfill``, not as arguments of Python.
        own_mapping: whether the rows are read by the user's own mapping, which has them as keys.
    """

    command: bool = False
    own_mapping: bool = False

    def state(self, setting: str) -> str:
        """Return how to state *setting*, with an example: ``--timezone Europe/Berlin``."""
        text = (_COMMAND if self.command else _PYTHON)[setting]
        if self.own_mapping and setting in _KEYS:
            return f"{text}, or {_KEYS[setting]} in {self.mapping}"
        return text

    @property
    def formats(self) -> str:
        """How further forms of times are read."""
        if not self.own_mapping:
            option = "--map MAP.TOML" if self.command else "mapping=…"
            return (
                f"correct it, or read the file by a mapping of your own with `formats` ({option})"
            )
        return (
            f"other forms are listed in `formats` of {self.mapping}: iso, written (25.06.2026 "
            "14:05, Jun 25, 2026), unix, or one of strptime such as %d/%m/%y"
        )

    @property
    def mapping(self) -> str:
        """The name of the user's own mapping in messages."""
        return "map.toml" if self.command else "the mapping"

    def name(self, setting: str) -> str:
        """Return the name of *setting*: ``--max-rejects`` or ``max_rejects``."""
        return f"--{setting.replace('_', '-')}" if self.command else setting


IN_PYTHON = Advice()
"""For parsers that are used by themselves."""
