"""Where conversions go: one sink for each service."""
