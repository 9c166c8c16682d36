"""Async conversion tracking."""
