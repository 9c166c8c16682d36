"""The HubSpot stand-in: one portal with deals, contacts, their properties and associations."""
