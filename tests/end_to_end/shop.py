"""A shop's conversions, and what the end-to-end tests know of the sandbox's ledger."""

from __future__ import annotations

from typing import Any

from anytrack_async import Conversion, Customer, DeliverySettings, Retry
from anytrack_async.sandbox import Sandbox

SERVICES = ("anytrack", "meta", "hubspot")

QUICK = DeliverySettings(
    retry=Retry(attempts=12, base=0.02, cap=0.2, hint_cap=0.1),
    probe=Retry(base=0.02, cap=0.2),
    lease=30,
    drain=30,
    poll=0.05,
)
"""The same steps with shorter waits."""


def sale(number: int, **changes: Any) -> Conversion:
    """A sale that every destination accepts."""
    fields: dict[str, Any] = {
        "revenue": f"{number % 500}.90",
        "currency": "EUR",
        "order_id": f"order-{number}",
        "click_id": f"click-{number}",
        "user_agent": "Mozilla/5.0",
        "page_url": "https://shop.example.com/thanks",
        "customer": Customer(email=f"customer-{number}@example.com", first_name="Zoë"),
    }
    return Conversion.sale(**{**fields, **changes})


def ids(sandbox: Sandbox, service: str) -> dict[str, int]:
    """Event id → how often *service* accepted it."""
    found: dict[str, int] = sandbox.ledger(ids=True)[service]["ids"]
    return found


def everything(count: int) -> set[str]:
    """The event ids of the first *count* sales."""
    return {sale(number).event_id for number in range(count)}
