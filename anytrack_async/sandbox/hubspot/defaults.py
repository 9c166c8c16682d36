"""What a portal has from its first day, and what AnyTrack's set-up adds to it.

Source: HubSpot: default deal and contact properties, pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable

from anytrack_async.sandbox.hubspot.schema import Property, Schema
from anytrack_async.sandbox.settings import HubSpotPortal

PORTAL_ID = 62515
DEAL_GROUP = "dealinformation"
CONTACT_GROUP = "contactinformation"
ANYTRACK_PROPERTIES = (
    "anytrack_source",
    "anytrack_campaign_id",
    "anytrack_click_id",
    "anytrack_conversion_type",
    "anytrack_ad_id",
    "anytrack_order_id",
)

_CONTACT_TEXTS = (
    "firstname",
    "lastname",
    "phone",
    "mobilephone",
    "company",
    "website",
    "jobtitle",
    "address",
    "city",
    "state",
    "zip",
    "country",
    "hs_country_region_code",
    "gender",
    "date_of_birth",
    "hubspot_owner_id",
    "salutation",
    "message",
)


def deal_schema(portal: HubSpotPortal) -> Schema:
    """Return the properties of deals."""
    own = [
        *_own(DEAL_GROUP, "string", "dealname", "description", "hs_next_step", "hubspot_owner_id"),
        *_own(DEAL_GROUP, "enumeration", "dealstage", "pipeline", "dealtype", "hs_priority"),
        *_own(DEAL_GROUP, "number", "amount", "hs_object_id"),
        *_own(DEAL_GROUP, "datetime", "closedate", "createdate", "hs_lastmodifieddate"),
        Property(
            name="deal_currency_code",
            label="Currency",
            type="enumeration",
            field="select",
            group=DEAL_GROUP,
            options=portal.currencies,
            own=True,
        ),
    ]
    return Schema({DEAL_GROUP: "Deal information"}, [*own, *(_added() if portal.prepared else ())])


def contact_schema() -> Schema:
    """Return the properties of contacts."""
    own = [
        Property(name="email", label="Email", group=CONTACT_GROUP, unique=True, own=True),
        *_own(CONTACT_GROUP, "string", *_CONTACT_TEXTS),
        *_own(CONTACT_GROUP, "enumeration", "lifecyclestage", "hs_lead_status"),
        *_own(CONTACT_GROUP, "number", "hs_object_id"),
        *_own(CONTACT_GROUP, "datetime", "createdate", "lastmodifieddate"),
    ]
    return Schema({CONTACT_GROUP: "Contact information"}, own)


def _own(group: str, type_: str, *names: str) -> Iterable[Property]:
    return (
        Property(name=name, label=name.replace("_", " "), type=type_, group=group, own=True)
        for name in names
    )


def _added() -> Iterable[Property]:
    yield Property(
        name="anytrack_event_id", label="AnyTrack event ID", group=DEAL_GROUP, unique=True
    )
    for name in ANYTRACK_PROPERTIES:
        yield Property(name=name, label=name.replace("_", " "), group=DEAL_GROUP)
