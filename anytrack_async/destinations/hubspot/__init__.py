"""HubSpot: deals, contacts and custom events."""
