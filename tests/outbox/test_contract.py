"""Both outboxes fulfil the contract."""

from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import OutboxContract


class TestMemoryOutbox(OutboxContract):
    def make(self, folder, clock, capacity):
        return MemoryOutbox(capacity=capacity, clock=clock)


class TestSQLiteOutbox(OutboxContract):
    def make(self, folder, clock, capacity):
        return SQLiteOutbox(folder / "outbox.db", capacity=capacity, clock=clock)
