"""NATS JetStream as a feed, and the publisher that fills it."""
