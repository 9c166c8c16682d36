"""Entries and claims of an outbox file, before and after they are decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs

from anytrack_async.outbox.base import Claim, FailedEntry


class StoredEntry(NamedTuple):
    """An entry of a claim as it is in the file.

    Attributes:
        seq: position in the log.
        accepted_at: time of acceptance, unix seconds.
        payload: the encoded conversion.
        digest: digest of the payload.
        attempts: number of failed deliveries to this destination so far.
    """

    seq: int
    accepted_at: float
    payload: bytes
    digest: bytes
    attempts: int


@attrs.frozen(kw_only=True)
class ClaimResult:
    """A claim with entries that are not decoded yet.

    Attributes:
        lease_id: identifies the lease; 0 when nothing could be claimed.
        entries: the stored entries, in log order.
        lost_leases: `Claim.lost_leases`.
        next_due: without entries, when to claim again, unix seconds.
    """

    lease_id: int = 0
    entries: Sequence[StoredEntry] = ()
    lost_leases: Mapping[int, int] = attrs.field(factory=dict)
    next_due: float | None = None


@attrs.frozen(kw_only=True)
class SQLiteClaim(Claim):
    """A claim as `SQLiteOutbox` returns it.

    Attributes:
        unreadable: records in the lease that cannot be decoded. They are not in `entries`, and
            become dead letters when the claim is settled.
    """

    unreadable: Sequence[FailedEntry] = ()
