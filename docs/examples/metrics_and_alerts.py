"""Deliver what waits in an outbox, serve metrics, and call somebody when a lane is held.

Needs `anytrack_async[metrics]`.

$ uvicorn metrics_and_alerts:app --port 9102
"""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.routing import Mount

from anytrack_async import AnyTrackClient, DeadLettered, Event, LaneHeld, metrics_app
from anytrack_async.integrations.starlette import anytrack_lifespan

log = logging.getLogger("oncall")


class OnCall:
    """An observer: called on the event loop, so it must return at once."""

    def notify(self, event: Event, /) -> None:
        """Tell what an operator has to look at."""
        if isinstance(event, LaneHeld):
            log.error("%s is held: %s", event.destination, event.reason)
        elif isinstance(event, DeadLettered):
            log.warning("%s refused a conversion: %s", event.destination, event.reason)


client = AnyTrackClient.from_env(observers=[OnCall()])
app = Starlette(routes=[Mount("/", metrics_app(client))], lifespan=anytrack_lifespan(client))
