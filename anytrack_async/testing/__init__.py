"""For tests: of an application that tracks conversions, and of an outbox of your own."""
