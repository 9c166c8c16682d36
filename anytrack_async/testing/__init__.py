"""The contract suite of an outbox: subclass it to test an engine of your own."""
