"""taskiq: the broker's events start and close the client.

$ taskiq worker taskiq_worker:broker
"""

from __future__ import annotations

from typing import Annotated

from taskiq import Context, InMemoryBroker, TaskiqDepends, TaskiqEvents, TaskiqState

from anytrack_async import AnyTrackClient, Conversion

broker = InMemoryBroker()  # in production: a broker that several processes share


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_client(state: TaskiqState) -> None:
    """Open the client in the worker's event loop."""
    state.anytrack = AnyTrackClient.from_env()
    await state.anytrack.start()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close_client(state: TaskiqState) -> None:
    """Deliver what is left."""
    await state.anytrack.aclose()


@broker.task
async def track_order(
    order_id: str, total: str, context: Annotated[Context, TaskiqDepends()]
) -> None:
    """Store a sale in the outbox; running the task again sends nothing twice."""
    sale = Conversion.sale(revenue=total, order_id=order_id, ip_address="203.0.113.5")
    await context.state.anytrack.submit(sale)
