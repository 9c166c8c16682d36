"""Take AnyTrack's webhooks, and send the conversions on to Meta and HubSpot.

Give AnyTrack the URL https://your-host/anytrack/<secret>.

$ ANYTRACK_WEBHOOK_SECRET=… uvicorn webhook_listener:app
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.routing import Mount

from anytrack_async import AnyTrackClient, Conversion, WebhookApp
from anytrack_async.integrations.starlette import anytrack_lifespan

client = AnyTrackClient.from_env()
webhooks = WebhookApp(client, secret=os.environ["ANYTRACK_WEBHOOK_SECRET"], to=["meta", "hubspot"])


@webhooks.on_conversion
async def look(conversion: Conversion) -> None:
    """Called with each conversion, just before it is stored; may return another one to store."""
    print("from AnyTrack:", conversion.event_id)


app = Starlette(routes=[Mount("/anytrack", webhooks)], lifespan=anytrack_lifespan(client))
