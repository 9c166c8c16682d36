"""Feeds: streams of conversions from other machines, which a pump moves into an outbox."""
