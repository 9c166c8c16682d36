"""Pauses of destinations, kept in the outbox: they outlive processes, and each one honours them.

A pause is a checkpoint of the destination, so every outbox that is a `KeepsCheckpoints` has them,
and processes that do not know of pauses leave them alone. Without checkpoints, a pause is that of
one process only, and ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import orjson

from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.capabilities import KeepsCheckpoints

_PREFIX = "pause of "

_MAX_TEXT = 200
"""Characters of a name or a reason that are kept."""

_DAMAGED = "what is stored about the pause cannot be read"


def _line(text: object) -> str:
    """Return *text* in one line that is not too long, without control characters."""
    words = " ".join(str(text).split())[:_MAX_TEXT]
    return "".join(sign if sign.isprintable() else "?" for sign in words)


@attrs.frozen(kw_only=True)
class Pause:
    """An operator's order to send a destination nothing until it is resumed.

    Attributes:
        destination: the destination's name.
        since: when the order was given, unix seconds by the date of the machine.
        by: name of the person or program that gave the order; empty if not known.
        reason: why the order was given.
    """

    destination: str
    since: float
    by: str = attrs.field(default="", converter=_line)
    reason: str = attrs.field(default="", converter=_line)

    def __str__(self) -> str:
        author = f"paused by {self.by}" if self.by else "paused"
        return f"{author}: {self.reason}" if self.reason else author


async def read_pauses(outbox: Outbox, destinations: Iterable[str]) -> Mapping[str, Pause]:
    """Return destination → its pause, for those of *destinations* that are paused.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    if not isinstance(outbox, KeepsCheckpoints):
        return {}
    values = {name: await outbox.checkpoint(_PREFIX + name) for name in destinations}
    return {name: _decoded(name, value) for name, value in values.items() if value is not None}


async def save_pause(outbox: Outbox, destination: str, pause: Pause | None) -> bool:
    """Store the pause of *destination*; None ends it.

    Returns:
        False if the outbox cannot keep pauses; nothing has changed.

    Raises:
        OutboxError: the outbox cannot be written.
    """
    if not isinstance(outbox, KeepsCheckpoints):
        return False
    value = None
    if pause is not None:
        value = orjson.dumps({"since": pause.since, "by": pause.by, "reason": pause.reason})
    await outbox.save_checkpoint(_PREFIX + destination, value)
    return True


def _decoded(destination: str, value: bytes) -> Pause:
    # A pause that cannot be read still pauses: sending against an operator's order would be worse.
    try:
        fields = orjson.loads(value)
        since = float(fields["since"])
        by, reason = fields.get("by", ""), fields.get("reason", "")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return Pause(destination=destination, since=0.0, reason=_DAMAGED)
    return Pause(destination=destination, since=since, by=by, reason=reason)
