"""The client: tracking, pushing, reading, exporting, statistics."""
