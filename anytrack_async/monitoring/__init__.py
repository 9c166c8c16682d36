"""Metrics and health of an outbox, for a monitoring system."""
