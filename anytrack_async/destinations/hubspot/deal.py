"""From a conversion to a HubSpot deal, without I/O."""

from __future__ import annotations

from typing import Any

from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.values import extras, moment, plain, text
from anytrack_async.models.conversion import Conversion

KEY = "anytrack_event_id"
"""The deal property that holds the event id; unique, so that repeating a write changes nothing."""


def to_deal(conversion: Conversion, settings: HubSpotSettings) -> dict[str, Any]:
    """Return *conversion* as one input of a batch upsert of deals.

    Pipeline and stage go out as the settings name them: `HubSpotSink` puts ids for labels first.
    Every property value is text without blanks around it; empty ones are left out. `properties` of
    the settings may add to or replace any property but the key.

    Source: HubSpot, CRM API, deals, "Create or update a batch of deals by unique property values".
    """
    event_id, kind = conversion.event_id, conversion.conversion_type
    properties = {
        "dealname": _name(conversion, settings),
        "amount": plain(conversion.revenue),
        "deal_currency_code": conversion.currency,
        "closedate": moment(conversion.timestamp),
        "pipeline": settings.pipeline[kind],
        "dealstage": settings.stages[kind],
        "anytrack_source": conversion.source,
        "anytrack_campaign_id": conversion.campaign_id,
        "anytrack_click_id": conversion.click_id,
        "anytrack_conversion_type": kind.value,
        "anytrack_ad_id": conversion.ad_id,
        "anytrack_order_id": conversion.order_id,
    }
    if settings.properties:
        properties.update(extras(conversion, settings.properties))
    properties[KEY] = event_id
    return {
        "id": event_id,
        "idProperty": KEY,
        "properties": {
            name: tidy for name, value in properties.items() if value and (tidy := value.strip())
        },
        "objectWriteTraceId": event_id,
    }


def _name(conversion: Conversion, settings: HubSpotSettings) -> str:
    if settings.deal_name is not None and (name := text(settings.deal_name(conversion))):
        return name
    return f"Conversion {conversion.id or conversion.event_id}"
