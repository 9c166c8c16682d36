"""The contract suite of outboxes: what every implementation must promise.

Test an outbox of your own by subclassing `OutboxContract` in a test file::

    class TestPostgresOutbox(OutboxContract):
        def make(self, folder, clock, capacity):
            return PostgresOutbox(dsn, capacity=capacity, clock=clock)

It needs ``pytest`` and ``pytest-asyncio``.
"""

from __future__ import annotations

from anytrack_async.testing.outbox_rules.accepting import Accepting
from anytrack_async.testing.outbox_rules.base import CAPACITY, LEASE, Clock, sale, sales
from anytrack_async.testing.outbox_rules.claiming import Claiming
from anytrack_async.testing.outbox_rules.giving_back import GivingBack
from anytrack_async.testing.outbox_rules.joining import Joining
from anytrack_async.testing.outbox_rules.letters import Letters
from anytrack_async.testing.outbox_rules.retention import Retention
from anytrack_async.testing.outbox_rules.telling import Telling

__all__ = ["CAPACITY", "LEASE", "Clock", "OutboxContract", "sale", "sales"]


class OutboxContract(Accepting, Claiming, GivingBack, Letters, Joining, Retention, Telling):
    """Every promise of `Outbox` as a test; a subclass says how to `make` one.

    ``make(folder, clock, capacity)`` returns an outbox on an empty store that nobody else uses, not
    opened yet. *folder* is an empty folder, *clock* tells unix seconds and stands still until the
    test moves it.
    """
