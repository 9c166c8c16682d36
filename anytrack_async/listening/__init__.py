"""AnyTrack's webhooks become conversions."""
