"""The contract suite of outboxes: tests that every implementation has to pass.

Test your own outbox by subclassing `OutboxContract` in a test file::

    class TestPostgresOutbox(OutboxContract):
        def make(self, folder, clock, capacity):
            return PostgresOutbox(dsn, capacity=capacity, clock=clock)

It needs ``pytest`` and ``pytest-asyncio``.
"""

from __future__ import annotations

from anytrack_async.testing.outbox_rules.accepted import AcceptedRules, SummaryRules
from anytrack_async.testing.outbox_rules.append import AppendRules
from anytrack_async.testing.outbox_rules.base import CAPACITY, LEASE, Clock, sale, sales
from anytrack_async.testing.outbox_rules.claim import ClaimRules
from anytrack_async.testing.outbox_rules.dead_letter_steps import DeadLetterStepRules
from anytrack_async.testing.outbox_rules.dead_letters import DeadLetterRules
from anytrack_async.testing.outbox_rules.destinations import DestinationRules
from anytrack_async.testing.outbox_rules.erasing import ErasingRules
from anytrack_async.testing.outbox_rules.history import HistoryRules
from anytrack_async.testing.outbox_rules.remote_ids import RemoteIdRules
from anytrack_async.testing.outbox_rules.reports import ReportRules
from anytrack_async.testing.outbox_rules.retention import CheckpointRules, RetentionRules
from anytrack_async.testing.outbox_rules.settle import SettleRules
from anytrack_async.testing.outbox_rules.sizes import SizeRules

__all__ = ["CAPACITY", "LEASE", "Clock", "OutboxContract", "sale", "sales"]


class OutboxContract(
    AppendRules,
    ClaimRules,
    SettleRules,
    ReportRules,
    DeadLetterRules,
    DeadLetterStepRules,
    DestinationRules,
    RetentionRules,
    CheckpointRules,
    RemoteIdRules,
    SizeRules,
    ErasingRules,
    HistoryRules,
    AcceptedRules,
    SummaryRules,
):
    """Every rule of `Outbox` as a test; a subclass implements `make`.

    ``make(folder, clock, capacity)`` returns an outbox that is not open yet, on an empty store that
    nothing else uses. *folder* is an empty folder; *clock* returns unix seconds, and advances only
    when the test says so.
    """
