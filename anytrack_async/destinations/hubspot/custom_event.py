"""From a conversion to a HubSpot custom event, without I/O."""

from __future__ import annotations

from typing import Any

from anytrack_async.destinations.hubspot.contact import first_email
from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.destinations.hubspot.values import extras, moment, plain
from anytrack_async.models.conversion import Conversion


def to_event(conversion: Conversion, settings: HubSpotSettings) -> dict[str, Any] | None:
    """Return *conversion* as one input of a batch of custom events; its ``uuid`` is the event id.

    The contact is found by the customer's first valid e-mail address, or by the visitor's cookie
    ``hubspotutk`` where the custom data has it under this name. Properties of the event: ``amount``
    ``currency`` ``conversion_type`` ``source`` ``campaign_id`` ``click_id`` ``ad_id`` ``order_id``
    and those of the settings; define the ones wanted along with the event in HubSpot.

    Returns:
        None without address and cookie: HubSpot takes events of known visitors only.

    Source: HubSpot, custom events, "Send a batch of event occurrences".
    """
    customer = conversion.customer
    email = first_email(customer.email) if customer else None
    cookie = conversion.custom_data.get("hubspotutk")
    if not email and not cookie:
        return None
    return {
        "eventName": settings.event_name,
        "uuid": conversion.event_id,
        "occurredAt": moment(conversion.timestamp),
        "properties": _properties(conversion, settings),
        **({"email": email} if email else {"utk": str(cookie)}),
    }


def _properties(conversion: Conversion, settings: HubSpotSettings) -> dict[str, str]:
    properties = {
        "amount": plain(conversion.revenue),
        "currency": conversion.currency,
        "conversion_type": conversion.conversion_type.value,
        "source": conversion.source,
        "campaign_id": conversion.campaign_id,
        "click_id": conversion.click_id,
        "ad_id": conversion.ad_id,
        "order_id": conversion.order_id,
    }
    properties.update(extras(conversion, settings.properties))
    return {name: tidy for name, value in properties.items() if value and (tidy := value.strip())}
