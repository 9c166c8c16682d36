"""From the outbox to the sinks and back: lanes, dispatcher, delivery handles."""

from typing import TYPE_CHECKING

from anytrack_async._lazy import lazily

if TYPE_CHECKING:
    from anytrack_async.delivery.dispatcher import Dispatcher
    from anytrack_async.delivery.gate import LaneState
    from anytrack_async.delivery.handle import Delivery
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "dispatcher": "Dispatcher",
            "gate": "LaneState",
            "handle": "Delivery",
        },
    )

__all__ = ["Delivery", "Dispatcher", "LaneState"]
