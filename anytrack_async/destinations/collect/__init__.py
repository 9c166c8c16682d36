"""AnyTrack's collect endpoint (custom integrations)."""
