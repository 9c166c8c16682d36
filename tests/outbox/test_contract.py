"""Both outboxes keep the contract."""

from anytrack_async.outbox import MemoryOutbox, SQLiteOutbox
from anytrack_async.testing.outbox_contract import OutboxContract


class TestMemoryOutbox(OutboxContract):
    def make(self, folder, clock, capacity):
        return MemoryOutbox(capacity=capacity, clock=clock)


class TestSQLiteOutbox(OutboxContract):
    def make(self, folder, clock, capacity):
        return SQLiteOutbox(folder / "outbox.db", capacity=capacity, clock=clock)
