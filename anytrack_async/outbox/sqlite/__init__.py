"""An outbox in one SQLite file."""
