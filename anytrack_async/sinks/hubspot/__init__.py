"""HubSpot: deals, contacts and the links between them, or custom events."""

from anytrack_async.sinks.hubspot.check import Finding
from anytrack_async.sinks.hubspot.contact import to_contact
from anytrack_async.sinks.hubspot.deal import to_deal
from anytrack_async.sinks.hubspot.event import to_event
from anytrack_async.sinks.hubspot.setup import Step
from anytrack_async.sinks.hubspot.sink import HubSpotSink

__all__ = ["Finding", "HubSpotSink", "Step", "to_contact", "to_deal", "to_event"]
