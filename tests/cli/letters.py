"""An outbox with dead letters, and what it says of a conversion."""

from __future__ import annotations

import anyio

from anytrack_async import Conversion, Customer, SQLiteOutbox, Status
from anytrack_async.outbox.base import FailedEntry

JANE = Customer(email="jane@example.com")
SALES = [
    Conversion.sale(
        order_id=f"{number}", revenue=f"{number}.90", customer=JANE, source="=1+1", click_id="c-1"
    )
    for number in range(4)
]
REASONS = {1: ("[b]too old[/b]", "280"), 2: ("no such pipeline", None), 3: ("too old", "280")}


async def fill(path, *, names=("anytrack", "meta"), clock=None) -> None:
    """Four sales: at each destination, the first is delivered and three are dead."""
    outbox = SQLiteOutbox(path, clock=clock)
    await outbox.open(names)
    await outbox.append(SALES)
    for name in names:
        claim = await outbox.claim(name, 9, 60)
        failures = [
            FailedEntry(seq=claim.entries[number].seq, attempts=1, error=error, code=code)
            for number, (error, code) in REASONS.items()
        ]
        await outbox.settle(claim, failures)
    await outbox.aclose()


async def _statuses(path) -> dict[str, dict[str, Status]]:
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    reports = await outbox.reports([sale.event_id for sale in SALES])
    await outbox.aclose()
    return {
        event_id: {name: outcome.status for name, outcome in report.outcomes.items()}
        for event_id, report in reports.items()
    }


def statuses(path, event_id: str) -> dict[str, Status]:
    return anyio.run(_statuses, path)[event_id]
