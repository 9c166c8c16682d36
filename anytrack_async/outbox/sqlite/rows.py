"""Conversions as rows of the log of an outbox file, one behind the other in one list."""

from __future__ import annotations

from collections.abc import Sequence

from anyio.lowlevel import checkpoint

from anytrack_async.codec.storage import encode
from anytrack_async.models.conversion import Conversion

COLUMNS = ("event_id", "digest", "destinations", "payload", "at")
WIDTH = len(COLUMNS)

FEW = 50
"""Conversions encoded before others may run: a fraction of a millisecond."""


def add_rows(
    values: list[object], conversions: Sequence[Conversion], mask: str | None, at: float
) -> None:
    """Add to *values* the `COLUMNS` of each of *conversions*, accepted *at* unix seconds.

    Args:
        values: rows, one behind the other.
        conversions: what to encode; if one cannot be, some rows may be added before it raises.
        mask: whom they are for, see `log.mask`.
        at: when they are accepted, unix seconds.
    """
    for one in conversions:
        payload, digest = encode(one)
        values += (one.event_id, digest, mask, payload, at)


async def rows_in_parts(
    conversions: Sequence[Conversion], mask: str | None, at: float
) -> list[object]:
    """Return the rows of many conversions, and let others run every `FEW` of them."""
    values: list[object] = []
    for start in range(0, len(conversions), FEW):
        if start:
            await checkpoint()
        add_rows(values, conversions[start : start + FEW], mask, at)
    return values
