"""The parts of the outbox contract; subclass `anytrack_async.testing.outbox_contract`."""
