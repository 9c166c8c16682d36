"""The history of an outbox file; see `anytrack_async.outbox.history`."""
