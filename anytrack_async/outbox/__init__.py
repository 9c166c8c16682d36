"""Where accepted conversions wait: the protocol, and the outboxes that come with the library."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "base": "Appended Claim DeadLetter Depth Entry Outbox Setback",
            "memory": "MemoryOutbox",
            "sqlite": "SQLiteOutbox",
        },
    )

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
