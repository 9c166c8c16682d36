"""AnyTrack: conversions in, reports out."""
