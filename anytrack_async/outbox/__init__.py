"""Where accepted conversions wait: the protocol, and the outboxes that come with the library."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily
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

if TYPE_CHECKING:
    from anytrack_async.outbox.sqlite import SQLiteOutbox

__getattr__ = lazily(__name__, {"SQLiteOutbox": "anytrack_async.outbox.sqlite"})

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
