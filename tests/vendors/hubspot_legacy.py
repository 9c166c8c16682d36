"""Requests by the names of HubSpot's `hubspot-api-client`, for its tests."""

from __future__ import annotations

import json

from hubspot.crm import contacts, deals
from hubspot.crm.associations import v4

from anytrack_async.destinations.hubspot.settings import HubSpotSettings
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.customer import Customer

TOKEN = "sandbox-hubspot-token"
SETTINGS = HubSpotSettings(access_token="t")
DEAL = {"dealname": "Ant farm", "dealstage": "closedwon", "pipeline": "default"}
TO_CONTACT = {"association_category": "HUBSPOT_DEFINED", "association_type_id": 3}


def sale(number, **fields):
    customer = Customer(email=f"Jane{number}@Example.com", first_name="Jane")
    return Conversion.sale(
        **{"revenue": "12.50", "order_id": str(number), "customer": customer, **fields}
    )


def upserts(models, inputs):
    """Our inputs by that client's names."""
    item_type = models.SimplePublicObjectBatchInputUpsert
    return models.BatchInputSimplePublicObjectBatchInputUpsert(
        inputs=[
            item_type(
                id=item["id"],
                id_property=item["idProperty"],
                properties=item["properties"],
                object_write_trace_id=item.get("objectWriteTraceId"),
            )
            for item in inputs
        ]
    )


def upsert_deals(client, *inputs):
    return client.crm.deals.batch_api.upsert(upserts(deals, inputs))


def create_deal(client, **values):
    item = deals.SimplePublicObjectInputForCreate(properties={**DEAL, **values}, associations=[])
    return client.crm.deals.basic_api.create(item)


def create_contact(client, email):
    item = contacts.SimplePublicObjectInputForCreate(properties={"email": email}, associations=[])
    return client.crm.contacts.basic_api.create(item)


def pairs(*ids):
    end = v4.PublicObjectId
    return v4.BatchInputPublicDefaultAssociationMultiPost(
        inputs=[
            v4.PublicDefaultAssociationMultiPost(_from=end(id=deal), to=end(id=contact))
            for deal, contact in ids
        ]
    )


def link(client, *ids):
    return client.crm.associations.v4.batch_api.create_default("deals", "contacts", pairs(*ids))


def said(refusal):
    return json.loads(refusal.value.body)


def rejected(sandbox):
    return sandbox.ledger()["hubspot"]["rejected"]
