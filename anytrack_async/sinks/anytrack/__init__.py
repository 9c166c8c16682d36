"""AnyTrack: the sink, and what it says on the wire."""
