"""HubSpot: deals, contacts and the links between them, or custom events."""
