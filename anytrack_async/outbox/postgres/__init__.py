"""The outbox in a PostgreSQL database."""
