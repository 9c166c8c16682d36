"""The HubSpot stand-in: one portal with deals, contacts, their properties and their links."""

from anytrack_async.sandbox.hubspot.service import HubSpotService

__all__ = ["HubSpotService"]
