"""Where conversions go: one folder a vendor, the sink protocol, and the registry."""
