"""The demo of `anytrack demo`: its sample, its audit and its display."""
