"""The client and what it counts."""
