"""From the outbox to the sinks and back: lanes, dispatcher, delivery handles."""

from anytrack_async.delivery.dispatcher import Dispatcher
from anytrack_async.delivery.gate import LaneState
from anytrack_async.delivery.handle import Delivery

__all__ = ["Delivery", "Dispatcher", "LaneState"]
