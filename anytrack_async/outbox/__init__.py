"""Where accepted conversions wait: the protocol, and the outboxes that come with the library."""

from anytrack_async.outbox.base import (
    Appended,
    Claim,
    DeadLetter,
    Depth,
    Entry,
    Outbox,
    Setback,
)
from anytrack_async.outbox.memory import MemoryOutbox
from anytrack_async.outbox.sqlite import SQLiteOutbox

__all__ = [
    "Appended",
    "Claim",
    "DeadLetter",
    "Depth",
    "Entry",
    "MemoryOutbox",
    "Outbox",
    "SQLiteOutbox",
    "Setback",
]
