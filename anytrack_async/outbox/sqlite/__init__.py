"""An outbox in one SQLite file."""

from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox

__all__ = ["SQLiteOutbox"]
