"""From the outbox to the sinks and back: lanes, dispatcher, delivery handles."""
