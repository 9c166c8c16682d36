"""Both outboxes fulfil the contract."""

import pytest

from anytrack_async.codec.encryption import KeyRing, new_key
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox
from anytrack_async.testing.outbox_contract import OutboxContract
from anytrack_async.testing.outbox_rules.claim import ClaimRules
from anytrack_async.testing.outbox_rules.dead_letters import DeadLetterRules
from anytrack_async.testing.outbox_rules.erasing import ErasingRules
from anytrack_async.testing.outbox_rules.history import HistoryRules
from anytrack_async.testing.outbox_rules.settle import SettleRules
from anytrack_async.testing.outbox_rules.sharing import SharingRules
from anytrack_async.testing.outbox_rules.sizes import SizeRules


class TestMemoryOutbox(OutboxContract):
    @pytest.fixture(autouse=True)
    def _small_steps(self, monkeypatch):
        monkeypatch.setattr("anytrack_async.outbox.memory.dead_letters._CHANGED_PER_STEP", 8)

    def make(self, folder, clock, capacity):
        return MemoryOutbox(capacity=capacity, clock=clock)


class TestEncryptedSQLiteOutbox(
    ClaimRules, SettleRules, DeadLetterRules, SizeRules, ErasingRules, HistoryRules
):
    @pytest.fixture(autouse=True)
    def _decrypts_all(self, monkeypatch):
        """Keep no conversion in memory, so that each one is decrypted."""
        pytest.importorskip("cryptography")
        monkeypatch.setattr("anytrack_async.outbox.sqlite.access._CACHED_CONVERSIONS", 0)

    def make(self, folder, clock, capacity):
        keys = KeyRing(new_key())
        return SQLiteOutbox(folder / "outbox.db", capacity=capacity, clock=clock, keys=keys)


class TestSQLiteOutbox(OutboxContract, SharingRules):
    def make(self, folder, clock, capacity):
        return SQLiteOutbox(folder / "outbox.db", capacity=capacity, clock=clock)
