"""The command `anytrack`: try the library, track from a shell, look after an outbox."""
