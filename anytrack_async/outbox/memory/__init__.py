"""The outbox that lives as long as its process."""
