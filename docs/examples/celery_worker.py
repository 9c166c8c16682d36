"""Celery: each worker process has a client, which is drained when the process ends.

$ celery --app celery_worker worker
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown

from anytrack_async import AnyTrack, Conversion

app = Celery("shop", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
anytrack: AnyTrack | None = None


@worker_process_init.connect
def open_client(**_: object) -> None:
    """Open a client after the fork: one that the parent had opened would not work here."""
    global anytrack
    anytrack = AnyTrack.from_env()
    anytrack.start()


@worker_process_shutdown.connect
def close_client(**_: object) -> None:
    """Deliver what is left."""
    if anytrack is not None:
        anytrack.close()


@app.task(acks_late=True)
def track_order(order_id: str, total: str) -> None:
    """Store a sale in the outbox; running the task again sends nothing twice."""
    assert anytrack is not None
    anytrack.submit(Conversion.sale(revenue=total, order_id=order_id, ip_address="203.0.113.5"))
