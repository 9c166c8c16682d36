"""Where accepted conversions wait: the protocol, and the outboxes that come with the library."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
    from anytrack_async.outbox.base import (
        Appended,
        Claim,
        DeadLetter,
        Depth,
        Outbox,
        Setback,
    )
    from anytrack_async.outbox.entries import Entries, Entry
    from anytrack_async.outbox.memory import MemoryOutbox
    from anytrack_async.outbox.sqlite import SQLiteOutbox
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "base": "Appended Claim DeadLetter Depth Outbox Setback",
            "entries": "Entries Entry",
            "memory": "MemoryOutbox",
            "sqlite": "SQLiteOutbox",
        },
    )

__all__ = [
    "Appended",
    "Claim",
    "DeadLetter",
    "Depth",
    "Entries",
    "Entry",
    "MemoryOutbox",
    "Outbox",
    "SQLiteOutbox",
    "Setback",
]
