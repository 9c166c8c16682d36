"""The AnyTrack stand-in: the eight calls of its REST API, under `/v1`."""
