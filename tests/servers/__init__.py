"""Real servers for tests: PostgreSQL, NATS and PgBouncer, found or started, see `fixtures`."""
