"""The page with every event that an observer gets: when, with which fields, at which log level."""

from __future__ import annotations

import inspect
import logging

import attrs

from anytrack_async import events
from tools.reference.docstrings import to_markdown

_HEAD = """\
# Events

<!-- Written by `python -m tools.reference` from the docstrings in anytrack_async/events.py. -->

An [observer](../monitoring.md) gets each of these as it happens, on the event loop. The logger
`anytrack_async` has one line for each, at the level given here.
"""


def page() -> str:
    """Return the page in Markdown."""
    return _HEAD + "".join(_section(cls) for cls in _classes())


def _classes() -> list[type[events.Event]]:
    listed = [getattr(events, name) for name in events.__all__]
    return [
        cls
        for cls in listed
        if isinstance(cls, type) and issubclass(cls, events.Event) and not inspect.isabstract(cls)
    ]


def _section(cls: type[events.Event]) -> str:
    fields = "\n".join(f"| `{field.name}` | `{field.type}` |" for field in attrs.fields(cls))
    table = f"\n\n| field | type |\n|---|---|\n{fields}" if fields else ""
    level = logging.getLevelName(cls.level)
    return f"\n## {cls.__name__}\n\nLog level: {level}.\n\n{to_markdown(cls)}{table}\n"
