"""The Meta Conversions API stand-in: `POST /{version}/{pixel}/events`."""
